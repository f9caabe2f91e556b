"""Make the bundled tokenizers from the real Qwen3 one and the sample corpus (maintainers only; users never need this).

    python data_prep/sample/make_tokenizers.py FOLDER

FOLDER holds Qwen3's tokenizer.json and tokenizer_config.json. Written: tokenizers/qwen3 (the same, compressed) and
tokenizers/bpe8k: a byte-level BPE of 8,192 ids with Qwen3's normalizer, pre-tokenizer and decoder, trained on the
documents of the sample that are not held out.
"""

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers

from data_prep.bundled import SAMPLE
from data_prep.cleaning.unicode import Unicode
from data_prep.corpus import load_corpus
from data_prep.digest import content_digest, held_out_below
from data_prep.ingest.document import Dropped
from data_prep.ingest.plan import plan_parts
from data_prep.ingest.read import read_part

HERE = Path(__file__).parent / "tokenizers"
VOCABULARY = 8_192
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LONGEST_TOKEN = 24  # characters; form feeds of dots and dashes deserve no id of their own
CONFIG = {
    "tokenizer_class": "Qwen2Tokenizer",
    "add_prefix_space": False,
    "clean_up_tokenization_spaces": False,
    "bos_token": None,
    "eos_token": "<|endoftext|>",
    "pad_token": "<|endoftext|>",
    "unk_token": None,
    "errors": "replace",
    "model_max_length": 131072,
    "split_special_tokens": False,
}


def training_texts() -> Iterator[str]:
    corpus = load_corpus(SAMPLE)
    below = held_out_below(corpus.heldout_fraction)
    for source in corpus.sources:
        clean = Unicode().ready(source.language)
        for part in plan_parts(SAMPLE, source):
            texts = (clean(document.text) for document in read_part(part, source.text_field, Dropped()))
            yield from (text for text in texts if isinstance(text, str) and content_digest(text) >= below)


def make_bpe8k(qwen3: Tokenizer) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = qwen3.normalizer
    tokenizer.pre_tokenizer = qwen3.pre_tokenizer
    tokenizer.decoder = qwen3.decoder
    tokenizer.post_processor = qwen3.post_processor
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=LONGEST_TOKEN,
        show_progress=False,
    )
    tokenizer.train_from_iterator(training_texts(), trainer)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    return tokenizer


def write_bpe8k(tokenizer: Tokenizer, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    decoder = {
        str(tokenizer.token_to_id(token)): {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
        for token in SPECIAL
    }
    config = {"added_tokens_decoder": decoder, "additional_special_tokens": SPECIAL[1:], **CONFIG}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def compress_qwen3(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json.gz").write_bytes(gzip.compress((source / "tokenizer.json").read_bytes(), 9, mtime=0))
    (folder / "tokenizer_config.json").write_bytes((source / "tokenizer_config.json").read_bytes())


def main() -> None:
    source = Path(sys.argv[1])
    compress_qwen3(source, HERE / "qwen3")
    write_bpe8k(make_bpe8k(Tokenizer.from_file(str(source / "tokenizer.json"))), HERE / "bpe8k")


if __name__ == "__main__":
    main()
