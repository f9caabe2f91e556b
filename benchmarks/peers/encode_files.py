"""gigatoken's own `encode_files`: the floor. It leaves the tokens in memory and writes nothing."""

import sys

from gigatoken import JsonlFileSource, Tokenizer

tokenizer, *files = sys.argv[1:]
print(len(Tokenizer(tokenizer).encode_files(JsonlFileSource(files)).layout.content), "tokens in memory")
