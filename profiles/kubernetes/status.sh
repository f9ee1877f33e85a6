#!/bin/sh
# What became of the job $1, in a word that Snakemake knows. While nobody answers, it is taken to be running.
state=$(kubectl get job "$1" --ignore-not-found -o 'jsonpath={.metadata.name} {.status.conditions[*].type}') || {
  echo running
  exit
}
case "$state" in
  *Complete*) echo success ;;
  # It has failed, or somebody has deleted it.
  *Failed* | "") echo failed ;;
  *) echo running ;;
esac
