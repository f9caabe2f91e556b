import json

import pytest

from evaluation.metrics import read_metrics, running_mean
from recipes.errors import UserError


def line(phase, iteration, loss):
    step = {
        "phase": phase,
        "iteration": iteration,
        "tokens": 8 * iteration,
        "tokens_total": 8 * iteration,
        "loss": loss,
    }
    return json.dumps({**step, "lr": 1e-3, "grad_norm": 1.0, "tokens_per_second": 10.0}) + "\n"


def test_a_resumed_step_counts_once_and_a_cut_line_not_at_all(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(line(1, 1, 5.0) + line(1, 2, 4.0) + line(1, 2, 4.5) + line(2, 1, 3.0) + line(2, 2, 2.0)[:20])
    steps, _ = read_metrics(path)
    assert [(s.phase, s.iteration, s.loss) for s in steps] == [(1, 1, 5.0), (1, 2, 4.5), (2, 1, 3.0)]


def test_validations_stand_between_the_steps(tmp_path):
    path = tmp_path / "metrics.jsonl"
    held_out = [
        {"phase": 1, "iteration": iteration, "tokens": 0, "tokens_total": 8 * iteration, "validation": {"legal": loss}}
        for iteration, loss in ((0, 6.0), (1, None))
    ]
    first, second = (json.dumps(one) + "\n" for one in held_out)
    path.write_text(first + line(1, 1, 5.0) + second)
    steps, validations = read_metrics(path)
    assert [(s.iteration, s.loss) for s in steps] == [(1, 5.0)]
    assert [(v.iteration, v.tokens_total, v.validation) for v in validations] == [
        (0, 0, {"legal": 6.0}),
        (1, 8, {"legal": None}),
    ]


def test_a_skipped_batch_is_no_step(tmp_path):
    path = tmp_path / "metrics.jsonl"
    skipped = json.dumps(json.loads(line(1, 2, None)) | {"skipped": "nan", "samples": [3]}) + "\n"
    path.write_text(line(1, 1, 5.0) + line(1, 2, 4.0) + skipped + line(1, 3, 3.0))
    steps, _ = read_metrics(path)
    assert [(step.iteration, step.loss) for step in steps] == [(1, 5.0), (3, 3.0)]


def test_no_log_is_no_steps(tmp_path):
    assert read_metrics(tmp_path / "metrics.jsonl") == ([], [])


@pytest.mark.parametrize(
    ("bad", "message"), [("{", "not valid JSON"), ("{}", "field `phase`"), ("3", "metrics.jsonl, line 2")]
)
def test_a_bad_line_is_named(tmp_path, bad, message):
    path = tmp_path / "metrics.jsonl"
    path.write_text(line(1, 1, 5.0) + bad + "\n")
    with pytest.raises(UserError, match=message):
        read_metrics(path)


def test_running_mean():
    assert running_mean([1.0, 3.0, 5.0, 7.0], 2) == [1.0, 2.0, 4.0, 6.0]
