"""What all tests share."""

import os
import sys

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)  # a shared machine's timing says nothing
settings.load_profile("unhurried")

# Two processes of a test must not fight for the cores, and nothing may reach for a hub.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

# A user's commands find their modules compiled; the many that tests start would compile them again and again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
