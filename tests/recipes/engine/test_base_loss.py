from pathlib import Path

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from recipes.engine.base_loss import base_loss, fixed_tokens, loss_of
from recipes.errors import UserError


def model(folder: Path, tied: bool, size: str = "1GB") -> Qwen3ForCausalLM:
    torch.manual_seed(1)
    config = Qwen3Config(
        vocab_size=200,
        hidden_size=40,
        intermediate_size=56,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=24,
        tie_word_embeddings=tied,
        initializer_range=0.3,
    )
    made = Qwen3ForCausalLM(config).eval()
    made.save_pretrained(folder, max_shard_size=size)
    return made


@pytest.mark.parametrize(("tied", "size"), [(True, "1GB"), (False, "20KB")])
def test_it_is_the_loss_of_the_whole_model(tmp_path: Path, tied: bool, size: str) -> None:
    whole, tokens = model(tmp_path, tied, size), fixed_tokens(200)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (size == "20KB")
    with torch.no_grad():
        expected = whole(tokens[:, :-1], labels=tokens[:, :-1], shift_labels=tokens[:, 1:]).loss.item()
    assert loss_of(tmp_path) == pytest.approx(expected, rel=1e-6)


def test_the_second_half_of_the_tokens_is_the_first() -> None:
    tokens = fixed_tokens(151_936)
    assert tokens.shape == (1, 65) and tokens.max() < 151_936 and tokens.unique().numel() == 32
    assert torch.equal(tokens[:, :32], tokens[:, 32:64]) and tokens[0, 64] == tokens[0, 0]


@pytest.mark.slow
def test_it_is_computed_in_a_process_of_its_own_and_what_is_missing_is_said(tmp_path: Path) -> None:
    model(tmp_path, tied=False)
    assert base_loss(tmp_path) == loss_of(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"its loss cannot be computed \(there is no tensor .* in its safetensors"):
        base_loss(tmp_path)
