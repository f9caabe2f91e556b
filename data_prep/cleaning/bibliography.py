"""The closing bibliography goes, and with it the author's curriculum vitae.

A list of names, titles and years is not language, teaches a model to invent references, and makes up a tenth of many
theses. Removed is the section under the last heading such as KAYNAKÇA, up to the next main section or the end of the
text, if it holds what a bibliography does: a year or an address on the web every few lines, and no article of a law.
It must begin after the first third of the text, where the word stands in a table of contents or heads a chapter on
"sources" of something.

Appendices (EKLER, EK-1) behind it stay: laws, questionnaires and decisions that the author quotes in full. A section
ÖZGEÇMİŞ behind it goes: names, dates of birth and addresses of private persons.
"""

import re
from typing import ClassVar

from pydantic import Field

from data_prep.cleaning.step import Clean, Step

_TITLES = (
    "KAYNAKÇA|KAYNAKLAR|BİBLİYOGRAFYA|BİBLİYOĞRAFYA|YARARLANILAN KAYNAKLAR|KAYNAKLAR DİZİNİ|KAYNAKLAR LİSTESİ|"
    "BAŞVURULAN KAYNAKLAR|REFERENCES|BIBLIOGRAPHY|WORKS CITED|"
    "Kaynakça|Kaynaklar|Bibliyografya|Yararlanılan Kaynaklar|Kaynaklar Dizini|References|Bibliography"
)
_NUMBERING = r"(?:(?:\d{1,2}|[IVX]{1,5})[.)]?[ \t]+)?"
_HEADING = re.compile(rf"\n[ \t#*]*{_NUMBERING}(?:{_TITLES})[ \t]*[:*]*[ \t]*(?=\n)")
_LIFE = re.compile(r"\n[ \t#*]*(?:ÖZGEÇMİŞ|Özgeçmiş|ÖZ GEÇMİŞ|CURRICULUM VITAE|Curriculum Vitae)[ \t:*]*(?=\n)")
_SECTION = re.compile(
    r"\n[ \t#*]*(?:(?:EKLER|Ekler|APPENDICES|Appendices|DİZİN|KAVRAM DİZİNİ|ÖZET|ABSTRACT|SUMMARY|SONUÇ)[ \t:*]*(?=\n)"
    r"|(?:EK|Ek|APPENDIX|Appendix)[ \t]?[-–—:.]?[ \t]?(?:\d{1,2}|[A-Z])\b)"
)
_SOURCE = re.compile(r"\b(?:1[5-9]|20)\d\d\b|https?://|www\.")
_ARTICLE = re.compile(r"\n[ \t]*(?:(?:EK|GEÇİCİ|Ek|Geçici)[ \t]+)?(?:MADDE|Madde)[ \t]+\d+")
_LONGEST_LIFE = 8_000  # characters; what is longer is more than a curriculum vitae


class Bibliography(Step):
    """Removes sections, never drops a document."""

    name: ClassVar[str] = "bibliography"
    earliest: float = Field(1 / 3, ge=0, le=1)  # share of the text before which no bibliography begins
    minimum_sources: int = Field(3, ge=1)  # years and addresses in a bibliography
    characters_per_source: int = Field(300, ge=1)  # at most, on average

    def ready(self, language: str) -> Clean:
        return self._repair

    def _repair(self, text: str) -> str:
        for heading in reversed(list(_HEADING.finditer(text, int(len(text) * self.earliest)))):
            end = _next_section(text, heading.end())
            if self._is_bibliography(text[heading.end() : end]):
                return (text[: heading.start()].rstrip() + _without_life(text[end:])).rstrip("\n")
        return text

    def _is_bibliography(self, section: str) -> bool:
        sources = len(_SOURCE.findall(section))
        if sources < self.minimum_sources or sources * self.characters_per_source < len(section):
            return False
        return _ARTICLE.search(section) is None


def _next_section(text: str, start: int) -> int:
    ends = [found.start() for pattern in (_SECTION, _LIFE) if (found := pattern.search(text, start))]
    return min(ends, default=len(text))


def _without_life(text: str) -> str:
    life = _LIFE.search(text)
    if life is None:
        return text
    end = _next_section(text, life.end())
    return text[: life.start()] + text[end:] if end - life.start() <= _LONGEST_LIFE else text
