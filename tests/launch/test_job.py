import argparse
from pathlib import Path

from launch.allocation import Allocation
from launch.job import CODE, rank_command, rank_settings
from recipes.load import load_cluster


def test_rank_command_keeps_what_was_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = argparse.Namespace(run=Path("runs/x"), recipe="qwen3_4b", cluster="mn5", set=["seed=7"])
    command = rank_command(load_cluster("mn5").container, asked, [1, 2])
    binds, run = command[4], f"{tmp_path}/runs/x"
    assert binds == f"{tmp_path}:{tmp_path},{CODE}:{CODE},{run}:{run}"
    entry = ["python", "-m", "launch.rank", "--run", run, "--recipe", "qwen3_4b", "--cluster", "mn5", "--phases", "1,2"]
    assert command[8:] == [*entry, "--set", "seed=7"]


def test_rank_settings():
    settings = rank_settings(load_cluster("mn5"), Allocation(nodes=100, ranks=400, cpus_per_rank=20))
    assert settings["OMP_NUM_THREADS"] == "20"
    assert settings["HF_HUB_OFFLINE"] == "1"  # the file says: no internet
    assert settings["CUDA_DEVICE_MAX_CONNECTIONS"] == "1"  # from the file
