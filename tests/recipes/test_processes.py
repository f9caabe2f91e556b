import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recipes.errors import UserError
from recipes.processes import module_output


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "spoken.py"


def test_lines_come_as_they_are_printed(module: Path) -> None:
    module.write_text("import os, sys, time\nprint(sys.argv[1:], os.environ['MORE'], flush=True)\ntime.sleep(60)\n")
    output = module_output("spoken", "a", "b", MORE="c")
    assert next(output) == "['a', 'b'] c\n"
    output.close()  # type: ignore[attr-defined]


def test_its_last_line_is_the_error(module: Path) -> None:
    module.write_text(
        "import sys\nprint('begun')\nprint('noise', file=sys.stderr)\nsys.exit('error: no such thing.')\n"
    )
    with pytest.raises(UserError, match=r"^no such thing\.$"):
        list(module_output("spoken"))
    module.write_text("import sys\nsys.exit(7)\n")
    with pytest.raises(UserError, match=r"^exit status 7$"):
        list(module_output("spoken"))
    module.write_text("import os\nos.kill(os.getpid(), 9)\n")
    with pytest.raises(UserError, match=r"killed by signal 9; is there enough memory\?"):
        list(module_output("spoken"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_it_ends_with_the_process_that_asked(module: Path) -> None:
    module.write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)\n")
    asking = "from recipes.processes import module_output\nfor line in module_output('spoken'): print(line, flush=True)"
    search = f"{os.environ['PYTHONPATH']}:{Path(__file__).parents[2]}"
    with subprocess.Popen(
        [sys.executable, "-c", asking], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": search}
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    for _ in range(100):
        if not _runs(child):
            return
        time.sleep(0.1)
    pytest.fail("it lives on")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
