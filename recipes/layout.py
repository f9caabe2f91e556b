"""Where everything of a run lies: one folder per run, the same names for every command."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run.

    shards/<source>/documents.{bin,idx}   tokenized training documents, with receipt.json
    heldout/<source>.jsonl                documents that no phase ever trains on
    phases/<n>/<source>.{idx,bin}         what phase n reads: slices over the shards, with blend.json
    run.lock.json                         what training was started with; it goes on with nothing else
    plan.json                             the exact integers of every phase
    base_checkpoint/                      the imported base model, as a NeMo checkpoint
    training/phase_<n>/                   checkpoints of phase n
    training/metrics.jsonl                one line per logged step, all phases
    hf/phase_<n>/                         Hugging Face exports
    report/                               evaluation results and the report
    """

    root: Path

    @property
    def shards(self) -> Path:
        return self.root / "shards"

    @property
    def heldout(self) -> Path:
        return self.root / "heldout"

    def phase(self, number: int) -> Path:
        return self.root / "phases" / str(number)

    @property
    def lock(self) -> Path:
        return self.root / "run.lock.json"

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def base_checkpoint(self) -> Path:
        return self.root / "base_checkpoint"

    @property
    def training(self) -> Path:
        return self.root / "training"

    def checkpoints(self, phase: int) -> Path:
        return self.training / f"phase_{phase}"

    @property
    def metrics(self) -> Path:
        return self.training / "metrics.jsonl"

    def exported(self, phase: int) -> Path:
        return self.root / "hf" / f"phase_{phase}"

    @property
    def report(self) -> Path:
        return self.root / "report"
