"""The batch scripts on a real Slurm of two nodes without GPUs; training itself is replaced by a stub."""

import re
import shutil

import pytest
from slurm_cluster import ARGUMENTS, OPTIONS, SCRIPT

pytestmark = pytest.mark.slurm


@pytest.mark.parametrize("script", [SCRIPT, "slurm/qwen3_1p7b_cpt.sbatch"])
def test_one_rank_per_node_runs_to_the_end(two_nodes, checkout, run_folder, script):
    job, log = two_nodes.wait(two_nodes.submit(*OPTIONS, script, *ARGUMENTS, cwd=checkout))
    given = f"--run {run_folder} --recipe qwen3_tiny --cluster slurm_cpu.yaml --phases 1"
    first, *ranks = log.splitlines()
    assert first == "phase 1: global batch 8 = 4 micro × 1 accumulation × 2 data-parallel"
    assert [line.split(" on ")[0] for line in sorted(ranks)] == ["0: rank 0 of 2", "1: rank 1 of 2"]
    assert all(line.endswith(f"gpus none {given}") for line in ranks)
    assert (job["JobState"], job["ExitCode"]) == ("COMPLETED", "0:0")


def test_numbers_of_the_job_replace_those_of_the_cluster_file(two_nodes, checkout, run_folder):
    options = [*OPTIONS, "--nodes=1", "--ntasks-per-node=2"]
    job, log = two_nodes.wait(two_nodes.submit(*options, SCRIPT, *ARGUMENTS, cwd=checkout))
    assert log.startswith(
        "cluster slurm_cpu: 2 nodes × 1 ranks in its file, 1 nodes × 2 ranks in this job, which count.\n"
    )
    assert job["JobState"] == "COMPLETED", log


def test_a_failed_rank_gives_the_job_its_status(two_nodes, checkout, run_folder):
    variables = {"STUB_FAILS": "1", "STUB_SECONDS": "300"}
    job, log = two_nodes.wait(two_nodes.submit(*OPTIONS, SCRIPT, *ARGUMENTS, cwd=checkout, **variables))
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("FAILED", "9:0", "0"), log


def test_missing_base_ends_the_job_in_one_sentence(two_nodes, checkout, run_folder):
    shutil.rmtree(run_folder / "base_checkpoint")
    job, log = two_nodes.wait(two_nodes.submit(*OPTIONS, SCRIPT, *ARGUMENTS, cwd=checkout))
    assert log.count("\n") == 1 and log.startswith(f"error: {run_folder}/base_checkpoint: "), log
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("FAILED", "2:0", "0")


@pytest.mark.parametrize("lost", ["blend.json", "laws.bin"])
def test_missing_shards_end_the_job_in_one_sentence(two_nodes, checkout, run_folder, lost):
    (run_folder / "phases" / "1" / lost).unlink()
    job, log = two_nodes.wait(two_nodes.submit(*OPTIONS, SCRIPT, *ARGUMENTS, cwd=checkout))
    assert log.count("\n") == 1 and log.startswith(f"error: {run_folder}/phases/1/{lost}: "), log
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("FAILED", "2:0", "0")


def test_account_and_qos_come_from_the_environment(two_nodes, checkout):
    variables = {"SBATCH_ACCOUNT": "bsc99", "SBATCH_QOS": "acc_debug"}
    submitted = two_nodes.call("sbatch", "-v", "--hold", *OPTIONS, SCRIPT, *ARGUMENTS, cwd=checkout, **variables)
    number = submitted.stdout.split()[-1]
    job = two_nodes.show(number)
    two_nodes.call("scancel", number, cwd=checkout)
    assert job["Account"] == "bsc99"
    assert re.search(r"qos +: acc_debug\n", submitted.stderr)  # a controller without accounting does not keep it


def test_submitted_from_another_folder(two_nodes, checkout, run_folder, tmp_path):
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    run_folder.parent.rename(elsewhere / "runs")
    (checkout / "slurm_cpu.yaml").rename(elsewhere / "slurm_cpu.yaml")
    job, log = two_nodes.wait(two_nodes.submit(*OPTIONS, str(checkout / SCRIPT), *ARGUMENTS, cwd=elsewhere))
    assert job["JobState"] == "COMPLETED", log
    assert f"--run {elsewhere}/runs/x" in log


def test_requeued_shortly_before_the_time_limit(two_nodes, checkout, run_folder):
    number = two_nodes.submit(*OPTIONS, SCRIPT, *ARGUMENTS, cwd=checkout, STUB_SECONDS="300")
    log = checkout / f"qwen3_4b_cpt-{number}.out"
    two_nodes.wait_for(number, lambda job: log.is_file() and "rank 1" in log.read_text())
    two_nodes.call("scancel", "--signal=USR1", "--batch", number, cwd=checkout)  # as --signal does near the limit
    two_nodes.wait_for(number, lambda job: job["Restarts"] == "1" and log.read_text().count("rank 1") == 2)
    two_nodes.call("scancel", number, cwd=checkout)
    assert "the time limit is near: this job goes back into the queue." in log.read_text()
