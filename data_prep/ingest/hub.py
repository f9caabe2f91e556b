"""Datasets by their hub name: from the local cache of `datasets`, or downloaded into it where there is internet."""

import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

from recipes.errors import UserError

_PROGRAM = Path(__file__).with_name("fetch_dataset.py")
_SWITCHES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
_PATIENCE = 5  # seconds for the hub to answer; a name server that is not there can take a minute to say so


def hub_files(name: str, config: str | None, split: str | None) -> list[Path]:
    """The Arrow files of a dataset in the local cache of `datasets`, in order.

    Raises:
        UserError: there is no internet and it is not in the cache, a split must be chosen, or it cannot be loaded.
    """
    if split and not split.replace("_", "").replace("-", "").replace(".", "").isalnum():
        raise UserError(f"dataset {name}: expected the name of a whole split, found {split!r}; mend `split`.")
    online = not _told_offline() and _answers(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    answer = _fetch(name, config, split, online)
    if "splits" in answer:
        raise UserError(f"dataset {name} has several splits; set `split` to one of {', '.join(answer['splits'])}.")
    if "files" in answer:
        return [Path(file) for file in answer["files"]]
    if online:
        raise UserError(f"dataset {name} cannot be loaded from the hub ({answer['error']}); mend `dataset`.")
    raise UserError(
        f"dataset {name} is no folder beside the corpus file, the hub cannot be asked, and the cache of `datasets` "
        f"does not have it ({answer['error']}); on a machine with internet `save_to_disk` it, copy the folder, and "
        "name that as `dataset`."
    )


def _told_offline() -> bool:
    return any(os.environ.get(switch, "").upper() in {"1", "ON", "YES", "TRUE"} for switch in _SWITCHES)


def _answers(endpoint: str) -> bool:
    """Whether an HTTP server answers at `endpoint`, through a proxy where the environment names one."""
    answered = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=_PATIENCE).close()
        except urllib.error.HTTPError:
            pass  # an answer, too
        except (OSError, ValueError):
            return
        answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return answered.is_set()


def _fetch(name: str, config: str | None, split: str | None, online: bool) -> dict[str, list[str]]:
    environment = os.environ | ({} if online else dict.fromkeys(_SWITCHES, "1"))
    asked = json.dumps({"name": name, "config": config, "split": split})
    done = subprocess.run(  # -P: this folder's modules are not in the way of others of their name
        [sys.executable, "-P", _PROGRAM, asked], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        answer = {"error": f"its process ended with status {done.returncode}"}
    if "error" in answer:
        answer["error"] = " ".join(answer["error"].split())[:500].rstrip(".")
    return answer
