"""One spelling for one text: Unicode NFC, one kind of newline, no invisible characters, no blank space at the edges.

Two encodings of one letter are two tokens to a model, and an invisible character splits a word. What carries meaning
stays: the joiners U+200C and U+200D spell words and emoji; tabs, runs of spaces and blank lines are the layout of code,
tables and verse. A no-break space becomes a space. A soft hyphen goes, but one that ends
a line is the hyphen of a broken word and becomes a visible one, which the step `hyphenation` repairs. In Turkish and
Azerbaijani an `i` with a combining dot (U+0307) is what lower-casing `İ` by English rules leaves, and becomes `i`.
"""

import re
import unicodedata
from typing import ClassVar

from data_prep.cleaning.step import Clean, Step

DOTTED = ("tr", "az")  # languages that write i and ı
# Characters that are in NFC whatever stands beside them: Latin, Cyrillic and Arabic letters, punctuation, currencies,
# arrows and mathematical signs, numbers in circles, boxes and bullets, Chinese.
_PLAIN = re.compile(
    "[\n\t -~\xa1-\xac\xae-\u02ff\u0400-\u0482\u048a-\u052f\u0621-\u064a\u2010-\u2027\u2030-\u205e\u20a0-\u20bf"
    "\u2190-\u2328\u2460-\u27bf\u3001-\u3029\u4e00-\u9fff\uff01-\uff5e]*"
)
# C0 and C1 controls but tab, newline and form feed, soft hyphen, zero-width space, word joiner, byte order mark.
_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u2060\ufeff]")
_NEWLINE = re.compile("\r\n?|[\x0b\x85\u2028\u2029]")


class Unicode(Step):
    """Changes the spelling of characters, never drops a document."""

    name: ClassVar[str] = "unicode"
    keep_form_feeds: bool = False  # for `running_lines`, which knows pages by them and removes them; else a newline

    def ready(self, language: str) -> Clean:
        keep_form_feeds, dotted = self.keep_form_feeds, language in DOTTED

        def clean(text: str) -> str:
            return text if _is_clean(text, keep_form_feeds) else _cleaned(text, keep_form_feeds, dotted)

        return clean


def _is_clean(text: str, keep_form_feeds: bool) -> bool:
    """Whether nothing is to be done, which one pass of one regular expression says of most texts."""
    shown = text.replace("\f", "\n") if keep_form_feeds else text
    return _PLAIN.fullmatch(shown) is not None and not text[:1].isspace() and not text[-1:].isspace()


def _cleaned(text: str, keep_form_feeds: bool, dotted: bool) -> str:
    text = _NEWLINE.sub("\n", text)
    if not keep_form_feeds:
        text = text.replace("\f", "\n")
    text = _INVISIBLE.sub("", text.replace("\xad\n", "-\n").replace("\xa0", " "))
    text = unicodedata.normalize("NFC", text)
    if dotted and "i\u0307" in text:
        text = unicodedata.normalize("NFC", re.sub("i\u0307+", "i", text))
    return text.strip()
