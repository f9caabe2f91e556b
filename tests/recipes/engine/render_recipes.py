"""Renders shipped recipes as `cpt recipe show` does and prints them as JSON: golden file -> text.

python render_recipes.py            # `python render_recipes.py --write` makes the golden files anew
"""

import json
import sys
from pathlib import Path
from typing import Any

from recipes.engine.platform import prepare
from recipes.load import load_cluster, load_recipe

GOLDEN = Path(__file__).parents[1] / "golden"


def main(write: bool) -> None:
    prepare()
    from recipes.engine import build, model, show

    for module in (build, model):
        module.has_cuda = module.has_transformer_engine = not_asked
    texts = {}
    for name, cluster, phases in (("qwen3_1p7b", "mn5", 4), ("qwen3_4b", "mn5", 1), ("qwen3_tiny", "local", 1)):
        recipe, on = load_recipe(name), load_cluster(cluster)
        configs = [show.configuration(recipe, number, on) for number in range(1, phases + 1)]
        texts[f"{name}.yaml"] = "---\n".join(show.text(show.tree(config)) for config in configs)
        if cluster == "mn5":
            stock = show.stock_configuration(recipe)
            texts[f"{name}.diff"] = "".join(show.difference(config, *stock) for config in configs)
    if write:
        for file, text in texts.items():
            (GOLDEN / file).write_text(text, encoding="utf-8")
    print(json.dumps(texts))


def not_asked() -> Any:
    raise AssertionError("what is rendered for a cluster must not depend on this machine")


if __name__ == "__main__":
    main("--write" in sys.argv)
