#!/bin/sh
# Bring one target of the workflow up to date, then archive what no run needs: what the stages of dvc.yaml call.
# Takes the .venv of this checkout, or of the one around it (DVC's temporary experiments), before what is on PATH.
set -eu
folder=$PWD
until [ -x "$folder/.venv/bin/snakemake" ] || [ "$folder" = / ]; do
    folder=$(dirname "$folder")
done
# By its place, not by PATH, which can't hold a folder with a colon.
bin=${folder%/}/.venv/bin/
[ -x "${bin}snakemake" ] || bin=
"${bin}snakemake" --cores "${DKD_CORES:-$(PYTHONPATH=src "${bin}python" -m dkd.cores)}" "$@"
"${bin}python" -m pipeline prune
