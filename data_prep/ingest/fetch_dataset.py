"""A program of its own: load a dataset by its hub name and print where its Arrow files are, or why that failed.

`datasets` takes seconds to import and reads the environment when it is imported, so no other process does.
"""

import json
import sys
from typing import Any


def _answer(name: str, config: str | None, split: str | None) -> dict[str, Any]:
    from datasets import DatasetDict, load_dataset

    try:
        loaded = load_dataset(name, config, split=split, keep_in_memory=False)
    except Exception as error:  # noqa: BLE001  whatever it is, the caller makes a sentence of it
        return {"error": f"{type(error).__name__}: {error}"}
    if isinstance(loaded, DatasetDict):
        if len(loaded) > 1:
            return {"splits": list(loaded)}
        loaded = next(iter(loaded.values()))
    return {"files": [file["filename"] for file in loaded.cache_files]}


if __name__ == "__main__":
    print(json.dumps(_answer(**json.loads(sys.argv[1]))))
