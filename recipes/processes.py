"""What happens to a process when the one that started it ends."""

import ctypes
import os
import signal
import sys


def die_with_parent(parent: int | None = None) -> None:
    """Ask Linux to kill this process when its parent ends, however that ends: nothing lives on and writes on.

    Args:
        parent: its process id, where it may have ended already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if parent is not None and os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
