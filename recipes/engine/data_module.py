"""The Lightning data module of one phase: reads `phases/<n>/blend.json`, delivers exactly its samples, in its order."""

from pathlib import Path

import lightning.pytorch as pl
import torch
from nemo.lightning.data import WrappedDataLoader
from nemo.lightning.pytorch.plugins import MegatronDataSampler

from recipes.blend import Blend
from recipes.engine.build_cache import cache_folder, ensure_cache
from recipes.engine.dataset import SeparatorTokenizer, open_dataset


class PhaseData(pl.LightningDataModule):
    """Training samples of one phase.

    The order is Megatron's: samples [consumed, total) in blocks of micro batch × data-parallel size, the same for every
    number of ranks. State is one integer, the samples consumed in this phase.

    Args:
        folder: `phases/<n>`.
        blend: its parsed `blend.json`.
        micro_batch_size: sequences per rank and forward pass.
        num_workers: loader processes per rank.
        document_masking: positions start again in every document (`recipes.engine.dataset.dataset_config`).
    """

    def __init__(
        self, folder: Path, blend: Blend, micro_batch_size: int, num_workers: int = 0, document_masking: bool = False
    ) -> None:
        super().__init__()
        self.folder = folder
        self.blend = blend
        self.micro_batch_size = micro_batch_size
        self.global_batch_size = blend.global_batch_size
        self.seq_length = blend.sequence_length
        self.tokenizer = SeparatorTokenizer(blend.separator_id, blend.vocab_size)
        self.num_workers = num_workers
        self.document_masking = document_masking
        self.data_sampler = MegatronDataSampler(
            seq_len=self.seq_length,
            micro_batch_size=micro_batch_size,
            global_batch_size=self.global_batch_size,
            output_log=False,
        )

    def setup(self, stage: str = "") -> None:
        """Map the index files; where they were not built beforehand, rank 0 builds them and the others wait."""
        if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
            ensure_cache(self.folder, self.blend)
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        cache = cache_folder(self.folder, self.blend)
        self.dataset = open_dataset(self.folder, self.blend, cache, self.document_masking)

    def train_dataloader(self) -> WrappedDataLoader:
        self.data_sampler.init_global_step = self.trainer.global_step
        return WrappedDataLoader(
            mode="train",
            dataset=self.dataset,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def state_dict(self) -> dict[str, int]:
        return {"consumed_samples": self.trainer.global_step * self.global_batch_size}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.data_sampler.init_consumed_samples = state_dict["consumed_samples"]
