"""The shape of a dense Qwen3 model: parameter counts and arithmetic, from the fields of its Hugging Face config."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Qwen3Shape(BaseModel):
    """The fields of a Qwen3 `config.json` that decide the network; names as in `transformers.Qwen3Config`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vocab_size: int = Field(gt=0)
    hidden_size: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    num_hidden_layers: int = Field(gt=0, le=1000)
    num_attention_heads: int = Field(gt=0)
    num_key_value_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    tie_word_embeddings: bool
    max_position_embeddings: int = Field(gt=0)
    rope_theta: float = Field(1_000_000.0, gt=0, allow_inf_nan=False)
    rms_norm_eps: float = Field(1e-6, gt=0, lt=1)
    initializer_range: float = 0.02
    attention_bias: Literal[False] = False
    hidden_act: Literal["silu"] = "silu"

    @model_validator(mode="after")
    def _query_groups(self) -> "Qwen3Shape":
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads ({self.num_attention_heads}) must be a multiple of "
                f"num_key_value_heads ({self.num_key_value_heads})"
            )
        return self

    @classmethod
    def from_hf(cls, config: dict[str, object]) -> "Qwen3Shape":
        """Take the shape out of a whole HF `config.json`, ignoring the fields that do not change the network.

        `rope_theta` moved into `rope_parameters` in transformers 5; both places are read.
        """
        fields = {name: config[name] for name in cls.model_fields if name in config}
        rope = config.get("rope_parameters")
        if "rope_theta" not in fields and isinstance(rope, dict) and "rope_theta" in rope:
            fields["rope_theta"] = rope["rope_theta"]
        fields.setdefault("rope_theta", None)  # it has no default that every version of transformers agrees on
        return cls.model_validate(fields)

    @property
    def parameters(self) -> int:
        """Number of weights, tied embeddings counted once."""
        query = self.num_attention_heads * self.head_dim
        key_value = self.num_key_value_heads * self.head_dim
        attention = self.hidden_size * (query + 2 * key_value) + query * self.hidden_size + 2 * self.head_dim
        layer = attention + 3 * self.hidden_size * self.intermediate_size + 2 * self.hidden_size
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)
        return embeddings + self.num_hidden_layers * layer + self.hidden_size

    def flops_per_token(self, attention_length: float) -> float:
        """Training FLOPs per token: 6 per weight of every matrix product (the output projection included, the embedding
        look-up not), and causal attention at half of the full square: 6 · layers · heads · head_dim · attention_length.

        Args:
            attention_length: tokens: of a sequence, or of what is attended to in one (`recipes.attention_length`).
        """
        norms = self.num_hidden_layers * 2 * (self.hidden_size + self.head_dim) + self.hidden_size
        embeddings = self.vocab_size * self.hidden_size
        matrices = self.parameters - norms - (0 if self.tie_word_embeddings else embeddings)
        attention = self.num_hidden_layers * self.num_attention_heads * self.head_dim * attention_length
        return 6.0 * matrices + 6.0 * attention
