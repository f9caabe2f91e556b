from pathlib import Path

from matplotlib.image import imread

from data_prep.mixture_plot import COLOURS, draw_mixture
from data_prep.phase_table import PhaseTable, SourceRow


def row(source: str, domain: str, asked: float, reached: float) -> SourceRow:
    return SourceRow(
        source=source,
        domain=domain,
        documents=10,
        repeated=0,
        minimum_document_tokens=1,
        tokens=1_000,
        samples_asked=10,
        samples=10,
        share_asked=asked,
        share_reached=reached,
        epochs=0.5,
        epochs_so_far=1.25,
        most_readings=2,
        truncated=0.5,
        truncated_fitting=0.1,
        padding=0.0,
    )


def table(*rows: SourceRow) -> PhaseTable:
    return PhaseTable(
        number=1, name="first", sequence_length=256, iterations=8, samples=64, tokens=16_384, sources=list(rows)
    )


def coloured(path: Path, colour: str) -> int:
    """Pixels of exactly this colour."""
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return int((abs(imread(path)[:, :, :3] * 255 - wanted).max(axis=2) < 0.5).sum())


def test_bars_grow_with_the_share_and_domains_have_colours(tmp_path: Path) -> None:
    draw_mixture(table(row("laws", "legal", 0.75, 0.75), row("web", "general", 0.25, 0.25)), 4, tmp_path / "a.png")
    draw_mixture(table(row("laws", "legal", 0.25, 0.25), row("web", "general", 0.75, 0.75)), 4, tmp_path / "b.png")
    legal, general = COLOURS[:2]
    assert coloured(tmp_path / "a.png", legal) > 1.5 * coloured(tmp_path / "b.png", legal)
    assert coloured(tmp_path / "b.png", general) > 1.5 * coloured(tmp_path / "a.png", general)


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw_mixture(table(row("laws", "legal", 1, 1)), 1.2, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
