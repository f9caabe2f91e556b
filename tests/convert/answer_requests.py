"""Answer several requests for logits in one process, since NeMo takes long to import.

python answer_requests.py FILE      FILE: a JSON list of `convert.logits.Request`; replaced by the list of reports
"""

import json
import os
import sys
from pathlib import Path

from convert.logits import Request
from convert.logits_process import answer


def main(file: Path) -> None:
    requests = [Request.model_validate(each) for each in json.loads(file.read_text())]
    file.write_text(json.dumps([answer(request).model_dump() for request in requests]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)  # gloo's threads may keep a finished process
