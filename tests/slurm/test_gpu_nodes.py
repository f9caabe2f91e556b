"""The published job on two of its nodes: four GPUs each, in a container; container and training are stubs."""

import json

import pytest
from slurm_cluster import SCRIPT

pytestmark = pytest.mark.slurm

STUB_SINGULARITY = """\
#!/bin/sh
# Drops its options and runs the command outside of any container: exec --nv --bind BINDS --pwd FOLDER IMAGE COMMAND...
shift 7
exec "$@"
"""


def test_every_rank_sees_the_gpus_of_its_node(gpu_nodes, checkout, run_folder):
    (checkout / "containers").mkdir()
    (checkout / "containers" / "nemo.sif").touch()
    programs = checkout / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "singularity").write_text(STUB_SINGULARITY)
    (programs / "singularity").chmod(0o755)

    published = {"sequence_length": 4096, "global_batch_size": 400, "iterations": 165_278, "vocab_size": 151_669}
    blend = run_folder / "phases" / "1" / "blend.json"
    blend.write_text(json.dumps(json.loads(blend.read_text()) | published))

    job, log = gpu_nodes.wait(gpu_nodes.submit("--nodes=2", SCRIPT, "--run", "runs/x", cwd=checkout))

    assert job["JobState"] == "COMPLETED", log
    note, batch, *ranks = log.splitlines()
    assert note == "cluster mn5: 100 nodes × 4 ranks in its file, 2 nodes × 4 ranks in this job, which count."
    assert batch == "phase 1: global batch 400 = 1 micro × 50 accumulation × 8 data-parallel"
    assert sorted(line.split()[2] for line in ranks) == list("01234567")
    assert all("gpus 0,1,2,3 " in line for line in ranks)


def test_a_missing_image_ends_the_job_in_one_sentence(gpu_nodes, checkout, run_folder):
    job, log = gpu_nodes.wait(gpu_nodes.submit("--nodes=2", SCRIPT, "--run", "runs/x", cwd=checkout))
    image = checkout / "containers" / "nemo.sif"
    assert log == f"error: {image}: the container image is not there; copy it to this place.\n"
    assert job["ExitCode"] == "2:0"
