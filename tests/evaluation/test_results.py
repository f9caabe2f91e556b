import math

import numpy as np
import pytest

from evaluation.heldout import Document, Encoded
from evaluation.results import Result, Score, compare, read_result, score_by, stored_result, write_result
from recipes.errors import UserError

INPUTS = {"heldout": "a", "sequence_length": 16}


def result(name="base", nll=200.0, **inputs):
    score = Score(tokens=100, bytes=400, nll=nll)
    return Result(
        name=name,
        kind="model",
        path="m",
        parameters=1,
        inputs={**INPUTS, **inputs},
        versions={},
        sources={"laws": score},
        domains={"legal": score},
        source_domains={"laws": "legal"},
    )


def test_score_is_what_its_names_say():
    score = Score(tokens=100, bytes=400, nll=100 * math.log(8))
    assert score.perplexity == pytest.approx(8)
    assert score.bits_per_byte == pytest.approx(0.75)


def test_bytes_are_utf8_bytes_of_the_text():
    encoded = Encoded([Document("ğış", "s", "d")], [np.array([1, 2])], 0, 3)
    assert score_by(encoded, np.array([1.0]))[0]["s"].bytes == 6


@pytest.mark.parametrize("nll", [math.nan, math.inf, -1.0, 1e6])
def test_numbers_that_are_no_perplexity_are_refused(nll):
    encoded = Encoded([Document("a", "laws", "legal")], [np.array([1])], 0, 3)
    with pytest.raises(UserError, match="the loss on laws"):
        score_by(encoded, np.array([nll]))


def test_the_artifact_comes_back_for_the_same_inputs_only(tmp_path):
    path = tmp_path / "results" / "base.json"
    assert stored_result(path, INPUTS) is None
    write_result(path, result())
    assert stored_result(path, INPUTS) == read_result(path) == result()
    assert stored_result(path, {**INPUTS, "heldout": "b"}) is None


@pytest.mark.parametrize("content", ["{", "[]", '{"inputs": {"heldout": "a", "sequence_length": 16}}'])
def test_a_damaged_artifact_is_scored_again_but_not_reported(tmp_path, content):
    path = tmp_path / "base.json"
    path.write_text(content)
    assert stored_result(path, INPUTS) is None
    with pytest.raises(UserError, match=r"base\.json"):
        read_result(path)


def test_compare_in_percent():
    better = result("phase_1", nll=200 + 100 * math.log(0.75))
    (change,) = compare(result(), [better])
    assert change.phase == "phase_1"
    assert change.perplexity == {"legal": pytest.approx(-25)}
    assert change.bits_per_byte == {"legal": pytest.approx(50 * math.log(0.75))}


@pytest.mark.parametrize("other", [{"heldout": "b"}, {"sequence_length": 32}])
def test_results_on_other_text_do_not_compare(other):
    with pytest.raises(UserError, match="do not compare"):
        compare(result(), [result("phase_1", **other)])
