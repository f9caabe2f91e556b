"""Where everything of a run lies: one folder per run, the same names for every command."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run.

    clean/<source>/<part>/                cleaned documents as Parquet, with receipt.json; may be deleted later
    selection/                            which of the cleaned documents stay
    shards/<source>/documents.{bin,idx}   tokenized training documents, with receipt.json
    heldout/<source>.{jsonl,bin,idx}      documents that no phase ever trains on
    phases/<n>/<source>.{idx,bin}         what phase n reads: slices over the shards, with blend.json
    phases/<n>/manifest.json              the receipt of that, with mixture.png
    phases/<n>/given/                     which documents of each source were given up to and with phase n
    phases/<n>/cache/                     Megatron's index files for it
    run.lock.json                         what training was started with; it goes on with nothing else
    data_report.html                      what the data lost to cleaning and why, with samples
    plan.json                             the exact integers of every phase
    base_checkpoint/                      the imported base model, as a NeMo checkpoint
    training/phase_<n>/                   checkpoints of phase n; the link `best` names the best by validation
    training/metrics.jsonl                one line per logged step and per validation, all phases
    training/samples.jsonl                what the model makes of fixed prompts, all phases
    training/attempts/                    one file per start; the newest alone may write
    training/wandb.json                   the id of the run at W&B; what is written for it is in training/wandb/
    training/warm_start.json              the base's loss on fixed tokens, which training must begin at
    hf/phase_<n>/                         Hugging Face exports
    report/                               evaluation results and the report
    """

    root: Path

    @property
    def clean(self) -> Path:
        return self.root / "clean"

    @property
    def selection(self) -> Path:
        return self.root / "selection"

    @property
    def data_report(self) -> Path:
        return self.root / "data_report.html"

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

    @property
    def wandb(self) -> Path:
        return self.training / "wandb.json"

    @property
    def samples(self) -> Path:
        return self.training / "samples.jsonl"

    def exported(self, phase: int) -> Path:
        return self.root / "hf" / f"phase_{phase}"

    @property
    def report(self) -> Path:
        return self.root / "report"
