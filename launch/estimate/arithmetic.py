"""What one optimizer step asks of one GPU: floating point operations and bytes of its memory, counted, not measured."""

from dataclasses import dataclass
from typing import Literal

from recipes.schema import Recompute
from recipes.shape import Qwen3Shape

Sharding = Literal["optimizer", "gradients", "full", "hybrid"]

# Bytes of GPU memory moved. They are counts of what the kernels must read and write, not fits.
LOGIT_BYTES = 24  # per logit: bf16 out, fp32 in and out of maximum, exponential, sum and gradient, bf16 back
GRADIENT_SUMS = 2  # passes over all gradients per micro batch: adding reads and writes
GRADIENT_CHECKS = 3  # passes per step: set to zero, checked for NaN, their norm
ADAM_BYTES = 30  # per parameter of an optimizer shard and step: fp32 weight, two moments and gradient, bf16 weight out


@dataclass(frozen=True)
class Network:
    """A dense transformer, as far as its cost goes. `gated`: three feed-forward matrices (SwiGLU), else two."""

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    key_value_heads: int
    head_dim: int
    vocabulary: int
    gated: bool = True
    tied: bool = False

    @classmethod
    def of(cls, shape: Qwen3Shape) -> "Network":
        """The network of a recipe."""
        return cls(
            layers=shape.num_hidden_layers,
            hidden=shape.hidden_size,
            feed_forward=shape.intermediate_size,
            heads=shape.num_attention_heads,
            key_value_heads=shape.num_key_value_heads,
            head_dim=shape.head_dim,
            vocabulary=shape.vocab_size,
            tied=shape.tie_word_embeddings,
        )

    @property
    def query(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def feed_forward_weights(self) -> int:
        """Weights of the feed-forward matrices of one layer."""
        return (3 if self.gated else 2) * self.hidden * self.feed_forward

    @property
    def layer_weights(self) -> int:
        """Weights of the matrices of one layer."""
        key_value = self.key_value_heads * self.head_dim
        return self.hidden * (2 * self.query + 2 * key_value) + self.feed_forward_weights

    @property
    def parameters(self) -> int:
        """Weights of all matrices and embeddings; the norms are too small to matter here."""
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.layers * self.layer_weights + embeddings

    @property
    def layer_activations(self) -> int:
        """Values per token that one layer hands from kernel to kernel: residual, norms, q, k, v, feed-forward."""
        key_value = self.key_value_heads * self.head_dim
        return 4 * self.hidden + 2 * self.query + 2 * key_value + (3 if self.gated else 2) * self.feed_forward

    def flops_per_token(self, attention_length: float) -> float:
        """As `Qwen3Shape.flops_per_token`: 6 per matrix weight, and causal attention at half of the square."""
        matrices = self.layers * self.layer_weights + self.vocabulary * self.hidden
        return 6.0 * matrices + 6.0 * self.layers * self.query * attention_length


@dataclass(frozen=True)
class Layout:
    """How one step is spread over GPUs. `micro_batch` in sequences; `virtual_stages` per pipeline stage."""

    gpus: int
    sequence_length: int
    micro_batch: int
    accumulation: int
    tensor: int = 1
    pipeline: int = 1
    context: int = 1
    virtual_stages: int = 1
    sharding: Sharding = "optimizer"
    reduce_bytes: int = 4  # per gradient on the wire: 4 (fp32) or 2 (bf16)
    recompute: Recompute = "none"  # selective: the feed-forward block of each layer
    loss_chunk_tokens: int | None = None  # logits for so many tokens at a time, computed again in the backward pass
    overlap_data: bool = True  # gradient reduction and weight gathering beside arithmetic
    overlap_tensor: bool = False  # tensor-parallel communication beside arithmetic (Transformer Engine's user buffers)
    document_length: float | None = None  # tokens that attention reaches over, where it stays inside documents

    @property
    def data(self) -> int:
        """Data-parallel size."""
        return self.gpus // (self.tensor * self.pipeline * self.context)

    @property
    def global_batch(self) -> int:
        """Sequences per optimizer step."""
        return self.micro_batch * self.accumulation * self.data

    @property
    def attention_length(self) -> float:
        """Tokens that attention reaches over."""
        return self.document_length or self.sequence_length

    @property
    def tokens_per_gpu(self) -> float:
        """Tokens of one step divided by all GPUs."""
        return self.global_batch * self.sequence_length / self.gpus


@dataclass(frozen=True)
class Work:
    """Counts for one GPU and one micro batch (all virtual stages), and the bytes of one optimizer step."""

    forward_matmul_flops: float
    backward_matmul_flops: float  # with what is recomputed
    forward_attention_flops: float
    backward_attention_flops: float
    forward_activation_bytes: float  # written once and read once by each kernel of a layer
    backward_activation_bytes: float
    logit_bytes: float
    weight_gradient_bytes: float
    step_bytes: float
    layers: float  # per GPU
    rank_parameters: float  # that this GPU computes with


def work(network: Network, layout: Layout, gpus_per_node: int) -> Work:
    """Count what one GPU does. Flash attention: causal, its backward pass 2.5 times its forward pass (Dao 2023).

    Logits and embeddings are spread over the pipeline's stages, as interleaved schedules nearly do.
    """
    tokens = layout.micro_batch * layout.sequence_length / layout.context
    layers = network.layers / layout.pipeline
    layer_flops = 2.0 * tokens * layers * network.layer_weights / layout.tensor
    logit_flops = 2.0 * tokens * network.vocabulary * network.hidden / layout.tensor / layout.pipeline
    attention_flops = 2.0 * tokens * layers * network.query * layout.attention_length / layout.tensor
    activations = 4.0 * tokens * layers * network.layer_activations / layout.tensor  # bf16, written and read
    again = _recomputed_flops(network, layout, layer_flops) + (layout.loss_chunk_tokens is not None) * logit_flops
    repeated = layout.recompute == "full"
    parameters = network.parameters / layout.tensor / layout.pipeline
    ranks = layout.data * layout.context
    shards = min(ranks, gpus_per_node) if layout.sharding == "hybrid" else ranks
    return Work(
        forward_matmul_flops=layer_flops + logit_flops,
        backward_matmul_flops=2 * (layer_flops + logit_flops) + again,
        forward_attention_flops=attention_flops,
        backward_attention_flops=(2.5 + repeated) * attention_flops,
        forward_activation_bytes=activations,
        backward_activation_bytes=(2 + repeated) * activations,
        logit_bytes=LOGIT_BYTES * tokens * network.vocabulary / layout.tensor / layout.pipeline,
        weight_gradient_bytes=GRADIENT_SUMS * layout.reduce_bytes * parameters,
        step_bytes=GRADIENT_CHECKS
        * layout.reduce_bytes
        * parameters
        / (shards if layout.sharding in ("full", "hybrid") else 1)
        + ADAM_BYTES * parameters / shards,
        layers=layers,
        rank_parameters=parameters,
    )


def _recomputed_flops(network: Network, layout: Layout, layer_flops: float) -> float:
    if layout.recompute == "selective":
        return layer_flops * network.feed_forward_weights / network.layer_weights
    return layer_flops if layout.recompute == "full" else 0.0
