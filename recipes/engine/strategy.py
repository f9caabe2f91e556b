"""NeMo's MegatronStrategy with what a phase of a curriculum needs on top."""

import os
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from megatron.core.tensor_parallel.random import model_parallel_cuda_manual_seed
from nemo.lightning import MegatronStrategy
from nemo.lightning.megatron_init import _set_random_seed

from recipes.engine.platform import has_cuda


class PhaseStrategy(MegatronStrategy):
    """One phase's strategy. No own constructor: NeMo serialises what upstream's is called with.

    Attributes:
        phase: number of the phase; keeps the rendezvous of phases that run one after another apart.
        seed: of the initial weights, where they are random. NeMo's own is always 1234.
    """

    phase = 1
    seed = 1234

    def connect(self, model: Any) -> None:
        # NeMo reads timers in a collective call on rank 0 only, which deadlocks gloo; progress has its own clock.
        self.timers = None
        super().connect(model)

    def setup_distributed(self) -> None:
        self.store = phase_store(self.phase)
        super().setup_distributed()
        _set_random_seed(self.seed + 1)  # it refuses 0
        if not has_cuda():  # it skips the tracker then, which sequence parallelism asks for
            model_parallel_cuda_manual_seed(self.seed + 1)

    def load_optimizer_state_dict(self, checkpoint: Any, selective_restore: bool = False) -> None:
        """Load moments and the count of steps; betas, epsilon and weight decay stay those of this phase's recipe.

        Upstream takes the saved parameter groups wholesale. Rates are the schedule's, which is restored after this.
        """
        ours = [{key: group[key] for key in group if key not in ("params", "step")} for group in self._groups()]
        super().load_optimizer_state_dict(checkpoint, selective_restore=selective_restore)
        for group, values in zip(self._groups(), ours, strict=True):
            group.update(values)

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]


def phase_store(phase: int) -> dist.Store:
    """The key-value store through which the ranks of one phase meet.

    Under torchrun the agent holds it for the whole job, so every phase has its own prefix; elsewhere rank 0 holds one
    per phase, on its own port.
    """
    held_by_agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = dist.TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]) + (0 if held_by_agent else phase),
        int(os.environ["WORLD_SIZE"]),
        is_master=not held_by_agent and os.environ["RANK"] == "0",
        multi_tenant=not held_by_agent,
        timeout=timedelta(minutes=30),  # hundreds of ranks import NeMo from one file system before they meet
    )
    return dist.PrefixStore(f"phase_{phase}", store)
