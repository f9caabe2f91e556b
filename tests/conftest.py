"""What all tests share."""

import os

# Two processes of a test must not fight for the cores, and nothing may reach for a hub.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
