# The project in an image, on a CPU or with CUDA:
#   docker build --tag dkd .
#   docker build --tag dkd --build-arg TORCH_INDEX=https://pypi.org/simple .
# The first takes torch without CUDA from an index of its own, which is a smaller download. Then for example:
#   docker run --rm dkd
#   docker run --rm --gpus all --volume "$PWD:/data" dkd dkd predict /data/checkpoint /data/photos --out /data/labelled
FROM python:3.11-slim-bookworm AS tools
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/*

FROM tools AS dkd
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /dkd
COPY . .
RUN PIP_NO_CACHE_DIR=1 PIP_EXTRA_INDEX_URL="$TORCH_INDEX" make .venv/installed
ENV PATH=/dkd/.venv/bin:$PATH
CMD ["make", "run"]
