"""A run folder small enough to train in seconds: two sources of regular tokens, a model of a few thousand weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

from data_prep.indexed import ShardWriter, token_dtype, write_index
from recipes.artifacts import write_json
from recipes.layout import RunFolder

SEPARATOR, VOCABULARY, SEQUENCE, GLOBAL_BATCH = 3, 256, 32, 4
ROOT = Path(__file__).parents[1]
OF_THE_START = {"tokens_per_second", "peak_memory_gb", "seconds_left", "seconds_left_run"}  # by clock and memory


def tiny_recipe(
    path: Path,
    iterations: int = 8,
    every: int = 3,
    phases: int = 2,
    wandb: dict[str, str] | None = None,
    **phase: object,
) -> Path:
    """Write a recipe of `phases` equal phases; `phase` overrides fields of each."""
    common = {
        "token_budget": iterations * SEQUENCE * GLOBAL_BATCH,
        "sequence_length": SEQUENCE,
        "micro_batch_size": 1,
        "global_batch_size": GLOBAL_BATCH,
        "mixture": {"first": 0.5, "second": 0.5},
        "schedule": {"max_lr": 0.01, "min_lr": 0.001, "warmup_fraction": 0.2},
    }
    shape = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "tie_word_embeddings": True,
        "max_position_embeddings": 64,
    }
    recipe = {
        "name": "tiny",
        "precision": "32",
        "model": {"init": "random", "shape": shape},
        "tokenizer": {"path": "bundled:bpe8k"},
        "phases": [common | {"name": f"part_{number}"} | phase for number in range(1, phases + 1)],
        "checkpoint": {"every_iterations": every},
        "evaluation": {"tokens_per_source": 64, "sequence_length": 32},
        "wandb": wandb,
    }
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


def tiny_cluster(path: Path, ranks: int) -> Path:
    """Write a cluster file of one machine with `ranks` processes."""
    fields = {"name": path.stem, "nodes": 1, "ranks_per_node": ranks, "cpus_per_node": ranks, "memory_per_node_gb": 2}
    path.write_text(yaml.safe_dump(fields), encoding="utf-8")
    return path


def tiny_data(run: RunFolder, phases: int = 2, iterations: int = 8) -> None:
    """Fill `phases/<n>` for every phase: slices out of order over a shared .bin, as data_prep cuts them."""
    for number in range(1, phases + 1):
        folder = run.phase(number)
        folder.mkdir(parents=True, exist_ok=True)
        samples = iterations * GLOBAL_BATCH // 2
        for position, name in enumerate(("first", "second")):
            _slice(folder / name, samples, np.random.default_rng([number, position]))
        blend = {
            "prefixes": ["first", "second"],
            "sequence_length": SEQUENCE,
            "global_batch_size": GLOBAL_BATCH,
            "iterations": iterations,
            "seed": 7,
            "separator_id": SEPARATOR,
            "vocab_size": VOCABULARY,
            "digest": f"phase {number} of {iterations}",
        }
        write_json(folder / "blend.json", blend)


def _slice(prefix: Path, samples: int, random: np.random.Generator) -> None:
    """Documents that count upwards from a random token; together floor((tokens - 1) / SEQUENCE) == samples."""
    left, documents = samples * SEQUENCE + 1, []
    while left:
        length = min(int(random.integers(2, 80)), left)
        counting = (random.integers(4, 200) + np.arange(length)) % (VOCABULARY - 4) + 4
        documents.append(np.append(counting[:-1], SEPARATOR).astype(np.uint16))
        left -= length
    lengths = np.array([len(document) for document in documents])
    with ShardWriter(prefix, token_dtype(VOCABULARY)) as writer:
        writer.append(np.concatenate(documents), lengths)
    order = random.permutation(len(documents))
    pointers = (np.cumsum(lengths) - lengths) * 2
    write_index(prefix, token_dtype(VOCABULARY), lengths[order], pointers[order])


def tiny_held_out(run: RunFolder) -> None:
    """Documents like those of training in heldout/, of two domains, one of which has two sources."""
    run.heldout.mkdir(parents=True)
    domains = {"first": "counting", "second": "other", "third": "other", "empty": "none"}
    for position, name in enumerate(domains):
        if name != "empty":
            _slice(run.heldout / name, 6, np.random.default_rng([9, position]))
    sources = {name: {"domain": domain, "documents": int(name != "empty")} for name, domain in domains.items()}
    write_json(run.heldout / "receipt.json", {"sources": sources})


def tiny_tokenizer(folder: Path) -> Path:
    """A tokenizer.json whose tokens are the words w0, w1, … of the tiny vocabulary."""
    words = {f"w{number}": number for number in range(VOCABULARY)}
    content = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "w0"},
    }
    folder.mkdir()
    write_json(folder / "tokenizer.json", content)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    return folder


def start_training(recipe: Path, cluster: Path, run: RunFolder, phases: str) -> "subprocess.Popen[str]":
    """Start `launch.train.train` in a process of its own."""
    call = (
        "from launch.train import train; from recipes.layout import RunFolder; from pathlib import Path;"
        "from recipes.terminal import run_command; import sys;"
        "r, c, f, p = sys.argv[1:];"
        "run_command(lambda: train(r, [], c, RunFolder(Path(f)), [int(n) for n in p.split(',')]))"
    )
    command = [sys.executable, "-c", call, str(recipe), str(cluster), str(run.root), phases]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def train(recipe: Path, cluster: Path, run: RunFolder, phases: str) -> str:
    """Train to the end; returns what a user sees."""
    process = start_training(recipe, cluster, run, phases)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output + _log_tail(run)
    return output


def _log_tail(run: RunFolder) -> str:
    return "".join(path.read_text(errors="replace")[-3000:] for path in (run.training / "logs").glob("*.txt"))


def metrics(run: RunFolder, phase: int) -> list[dict[str, float]]:
    """The lines of metrics.jsonl of one phase, without what differs from start to start."""
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [{key: line[key] for key in line if key not in OF_THE_START} for line in lines if line["phase"] == phase]
