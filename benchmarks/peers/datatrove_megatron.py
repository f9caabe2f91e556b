"""datatrove's `MegatronDocumentTokenizer` over JSON lines; run by a Python of its own (datatrove needs numpy 2)."""

import sys

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import MegatronDocumentTokenizer

if __name__ == "__main__":
    tokenizer, source, target, workers = sys.argv[1:]
    LocalPipelineExecutor(
        pipeline=[
            JsonlReader(source, doc_progress=False),
            MegatronDocumentTokenizer(target, tokenizer_name_or_path=tokenizer),
        ],
        tasks=int(workers),
        workers=int(workers),
        logging_dir=f"{target}/logs",
    ).run()
