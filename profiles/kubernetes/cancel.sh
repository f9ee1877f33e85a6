#!/bin/sh
# Deletes the jobs that are named, with their pods, which get SIGTERM first.
exec kubectl delete job --ignore-not-found --wait=false "$@"
