"""`cpt estimate` from outside."""

import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from launch.estimate.command import estimate

app = typer.Typer()
app.command()(estimate)


def output(*arguments: str) -> str:
    ended = CliRunner().invoke(app, arguments)
    assert ended.exit_code == 0, ended.output
    return ended.output


def test_it_says_where_time_goes_what_to_take_and_what_to_save() -> None:
    text = output("qwen3_4b", "--cluster", "mn5")
    for phrase in (
        "27.76 GFLOP",
        "989 TFLOP/s",
        "reducing gradients between nodes",
        "Recommended",
        "changes the optimisation: global batch",
        "Without any such change",
        "396 or 792",
        "Daly",
        "spare node",
    ):
        assert phrase in text, phrase


def test_json_is_the_same_estimate() -> None:
    answer = json.loads(output("qwen3_1p7b", "--cluster", "mn5", "--phase", "long_context", "--json"))
    assert answer["phase"] == "long_context"
    stated = answer["stated"]
    parts = [seconds for part, seconds in stated["seconds"].items() if part != "total"]
    assert sum(parts) == pytest.approx(stated["seconds"]["total"])
    tokens = stated["layout"]["global_batch"] * stated["layout"]["sequence_length"]
    assert stated["tokens_per_second"] == pytest.approx(tokens / stated["seconds"]["total"])
    useful = stated["iterations"] * stated["seconds"]["total"] / 3600
    assert stated["hours"] == pytest.approx(useful / (1 - answer["saving"]["lost"]))
    assert answer["recommended"] in answer["layouts"]


def test_attention_inside_documents_is_counted_by_their_length() -> None:
    masked = ("qwen3_4b", "--cluster", "mn5", "--set", "phases.1.document_masking=true", "--json")
    whole, unknown, short = (
        json.loads(output(*arguments))
        for arguments in (("qwen3_4b", "--cluster", "mn5", "--json"), masked, (*masked, "--document-tokens", "800"))
    )
    assert unknown["flops_per_token"] == whole["flops_per_token"] > short["flops_per_token"]
    assert "overstated" in unknown["documents"]["origin"] and whole["documents"] is None
    times = [answer["stated"]["seconds"]["attention"] for answer in (whole, short)]
    assert times[1] / times[0] == pytest.approx(short["documents"]["tokens"] / 4096)
    assert all(layout["layout"]["context"] == 1 for layout in short["layouts"])
    ended = CliRunner().invoke(app, ["qwen3_4b", "--cluster", "mn5", "--document-tokens", "800"])
    assert "leave it out, or add --set phases.1.document_masking=true" in str(ended.exception)


def test_without_reliability_there_is_no_advice_on_saving(tmp_path) -> None:
    from recipes.load import SHIPPED

    text = (SHIPPED / "clusters/mn5.yaml").read_text().replace("filesystem_gb_per_second: 50", "")
    (tmp_path / "mine.yaml").write_text(text)
    assert "No advice on saving and spares" in output("qwen3_4b", "--cluster", str(tmp_path / "mine.yaml"))


def test_a_recipe_that_does_not_fit_is_told_in_words(tmp_path) -> None:
    from recipes.load import SHIPPED

    text = (SHIPPED / "clusters/mn5.yaml").read_text().replace("memory_gb: 64", "memory_gb: 40")
    (tmp_path / "mine.yaml").write_text(text)
    answer = output("qwen3_4b", "--cluster", str(tmp_path / "mine.yaml"))
    assert "The recipe does not fit as it stands: it needs 51.0 GB, the GPU has 40." in answer


def test_rows_end_with_the_run_that_was_never_fitted() -> None:
    text = output("qwen3_4b", "--cluster", "mn5", "--rows")
    assert "never fitted: mecellem_4b" in text and "with its row left out: mean" in text
    assert "why: 4,096 tokens a step are 0.24 s of arithmetic" in text


def test_it_imports_nothing_heavy() -> None:
    script = (
        "import sys, typer; from launch.estimate.command import estimate\n"
        "estimate('qwen3_4b', 'mn5', as_json=True)\n"
        "print([name for name in ('torch', 'nemo', 'transformers', 'scipy', 'numpy') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.stdout.splitlines()[-1] == "[]", ended.stderr
