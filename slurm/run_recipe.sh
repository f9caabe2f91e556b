#!/usr/bin/env bash
# The body of every *.sbatch file of this folder: this checkout's Python runs the job (launch/job.py).
# Relative paths in the arguments are meant from the folder that the job was submitted from.
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
export PATH="$checkout/.venv/bin:$PATH" # absent: the environment that was active at submission
export PYTHONPATH="$checkout${PYTHONPATH:+:$PYTHONPATH}" # for the container, where nothing of ours is installed
exec python3 -m launch.job "$@"
