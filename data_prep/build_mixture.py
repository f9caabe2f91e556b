"""Build a phase's mixture from a corpus:  python data_prep/build_mixture.py --phase 2  (--help lists the rest).

Runs from any directory; the work is done by `data_prep.commands`.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # not data_prep/, whose modules are not top-level names

    import typer

    from data_prep.commands import mix
    from recipes.terminal import run_command

    run_command(lambda: typer.run(mix))
