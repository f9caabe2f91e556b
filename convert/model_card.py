"""The model card (README.md) of an export: front matter that the Hub reads, and the few sentences a user needs."""

from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True)
class Card:
    """What a card can say beyond the weights. What is not known is left out, not guessed."""

    name: str = "A Qwen3 model"
    base_model: str | None = None  # Hub id
    languages: tuple[str, ...] = ()
    licence: str | None = None  # Hub identifier such as apache-2.0
    data: tuple[str, ...] = ()  # one line per source: name, licence


def render_card(card: Card, iteration: int | None, dtype: str) -> str:
    """The text of README.md."""
    front: dict[str, Any] = {
        "base_model": card.base_model,
        "language": list(card.languages),
        "license": card.licence,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["qwen3", "continual-pretraining"],
    }
    header = yaml.safe_dump({key: value for key, value in front.items() if value}, sort_keys=False, allow_unicode=True)
    origin = f"Continued from {card.base_model}" if card.base_model else "Trained"
    steps = f", {iteration:,} optimizer steps in its last phase" if iteration else ""
    data = "\n".join(f"- {line}" for line in card.data) or "Not stated."
    return f"""---
{header}---

# {card.name}

{origin} with NeMo and Megatron-Core{steps}; weights in {dtype}. `conversion.json` holds the digest of every tensor.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained("FOLDER")
model = AutoModelForCausalLM.from_pretrained("FOLDER")
```

## Training data

{data}
"""
