# The project in an image, with torch as pip installs it (on x86-64, with CUDA):
#   make image
# A smaller one without CUDA, with the address of PyTorch's package index of CPU builds:
#   make image TORCH_INDEX=ADDRESS
# Then for example:
#   docker run --rm dkd
#   docker run --rm --gpus all --volume "$PWD:/data" dkd dkd predict /data/checkpoint /data/photos --out /data/labelled
FROM python:3.11-slim-bookworm AS tools
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/*

FROM tools AS dkd
ARG TORCH_INDEX=
WORKDIR /dkd
COPY . .
RUN PIP_NO_CACHE_DIR=1 PIP_EXTRA_INDEX_URL="$TORCH_INDEX" make .venv/installed
ENV PATH=/dkd/.venv/bin:$PATH
CMD ["make", "run"]
