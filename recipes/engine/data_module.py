"""The Lightning data module of one phase: reads `phases/<n>/blend.json`, delivers exactly its samples, in its order."""

import shutil
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
from nemo.lightning.data import WrappedDataLoader
from nemo.lightning.pytorch.plugins import MegatronDataSampler

from recipes.artifacts import digest
from recipes.blend import Blend
from recipes.engine.dataset import SeparatorTokenizer, ShardDataset, dataset_config, index_digest
from recipes.errors import UserError

_COMPLETE = "complete"


class PhaseData(pl.LightningDataModule):
    """Training samples of one phase, and optionally held-out ones.

    The order is Megatron's: samples [consumed, total) in blocks of micro batch × data-parallel size, the same for every
    number of ranks. State is one integer, the samples consumed in this phase.

    Args:
        folder: `phases/<n>`.
        blend: its parsed `blend.json`.
        micro_batch_size: sequences per rank and forward pass.
        cache: folder for Megatron's index files; they lie in a subfolder named after what they were made from.
        heldout: path prefixes for validation.
        validation_samples: how many of their samples are read; 0 for none.
        num_workers: loader processes per rank.
    """

    def __init__(
        self,
        folder: Path,
        blend: Blend,
        micro_batch_size: int,
        cache: Path,
        heldout: tuple[Path, ...] = (),
        validation_samples: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.blend = blend
        self.micro_batch_size = micro_batch_size
        self.global_batch_size = blend.global_batch_size
        self.seq_length = blend.sequence_length
        self.tokenizer = SeparatorTokenizer(blend.separator_id, blend.vocab_size)
        self.train_prefixes = [folder / prefix for prefix in blend.prefixes]
        self.heldout = list(heldout) if validation_samples else []
        indices = [index_digest(prefix) for prefix in self.train_prefixes + self.heldout]
        self.cache = cache / digest([blend.model_dump(), validation_samples, indices])[:16]
        self.validation_samples = validation_samples
        self.num_workers = num_workers
        self.data_sampler = MegatronDataSampler(
            seq_len=self.seq_length,
            micro_batch_size=micro_batch_size,
            global_batch_size=self.global_batch_size,
            output_log=False,
        )

    def setup(self, stage: str = "") -> None:
        """Build or find the index files (rank 0 first), and check that the phase holds all its samples."""
        self._remove_incomplete_cache()
        config = dataset_config(
            self.train_prefixes, self.heldout, self.seq_length, self.blend.seed, self.cache, self.tokenizer
        )
        sizes = [self.blend.samples, self.validation_samples, 0]
        train, validation, _ = BlendedMegatronDatasetBuilder(ShardDataset, sizes, lambda: True, config).build()
        if len(train) < self.blend.samples:
            raise UserError(
                f"{self.train_prefixes[0].parent}: the mixture holds {len(train)} samples, blend.json asks for "
                f"{self.blend.samples}; rebuild the mixture."
            )
        self._train, self._validation = train, validation
        _barrier()
        if _rank() == 0:
            (self.cache / _COMPLETE).touch()

    def train_dataloader(self) -> WrappedDataLoader:
        self.data_sampler.init_global_step = self.trainer.global_step
        return self._loader(self._train, "train")

    def val_dataloader(self) -> Any:
        return self._loader(self._validation, "validation") if self._validation is not None else []

    def state_dict(self) -> dict[str, int]:
        return {"consumed_samples": self.trainer.global_step * self.global_batch_size}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.data_sampler.init_consumed_samples = state_dict["consumed_samples"]

    def _loader(self, dataset: Any, mode: str) -> WrappedDataLoader:
        return WrappedDataLoader(
            mode=mode,
            dataset=dataset,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def _remove_incomplete_cache(self) -> None:
        """Megatron writes index files in place and takes any file that is there for whole; a killed build must go."""
        if _rank() == 0 and not (self.cache / _COMPLETE).is_file():
            shutil.rmtree(self.cache, ignore_errors=True)
            self.cache.mkdir(parents=True)
        _barrier()


def _rank() -> int:
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def _barrier() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
