"""E-mail addresses, telephone numbers, IBANs and Turkish national ids are masked: a model must not learn them.

Each kind has one placeholder. What looks like a number of a person but is one of the law must survive: law numbers,
dockets ("2015/1234 E."), dates, amounts. So a telephone number needs the prefix by which it is dialled (0, +90, 00, an
area code in brackets, "+" and a country) or a word such as "Tel." before it; an IBAN and a national id need right check
digits (ISO 13616, modulo 97; 11 digits whose last two check the others: of random numbers 1 % pass).
"""

import re
from collections.abc import Callable
from typing import ClassVar, Literal

from pydantic import Field

from data_prep.cleaning.step import Clean, Step

Kind = Literal["email", "iban", "phone", "national_id"]
KINDS: tuple[Kind, ...] = ("email", "iban", "phone", "national_id")  # in this order: an IBAN holds other numbers
PLACEHOLDERS: dict[Kind, str] = {
    "email": "[EMAIL]",
    "iban": "[IBAN]",
    "phone": "[PHONE]",
    "national_id": "[NATIONAL_ID]",
}

_DENSE = re.compile(r"\d(?:[ ()-]{0,2}\d){6}|\d(?:[ ().-]{0,2}\d){9}")  # in every number below
_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]++(?<!\.)@(?:[\w-]+\.)+[^\W\d_]{2,}(?![\w-])")
_IBAN = re.compile(r"\b[A-Z]{2} ?\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_NATIONAL_ID = re.compile(r"[1-9](?<![\w.,/-].)\d{10}(?![\w/-]|[.,]\d)")
_AREA = r"(?:[234]\d\d|5[03456]\d|8[05]0|900)"  # of Turkey: towns, mobile, free or at a charge
_REST = r"\d{3}[ .-]?\d{2}[ .-]?\d{2}"
_PHONE = re.compile(
    rf"""[+(0](?<![\w.,/+-].)(?:  # the sign, and nothing before it that makes it part of another number
      (?:(?<=\+)|(?<=0)0)[ ]?90[ ./-]?\(?0?{_AREA}\)?[ ./-]{{0,3}}{_REST}
    | (?:(?<=0)|(?<=\()0)[ /-]?\(?{_AREA}\)?[ ./-]{{0,3}}{_REST}
    | (?<=\(){_AREA}\)[ ./-]{{0,3}}{_REST}
    | (?<=\+)(?=(?:[ ().-]{{0,2}}\d){{8,15}}(?!\d))[1-9]\d{{0,2}}[ .-]?(?:\(?\d{{1,4}}\)?[ .-]?){{2,5}}\d{{2,4}}
    )(?![\w/-]|[.,]\d)
    """,
    re.VERBOSE,
)
_LABELLED = re.compile(
    r"(\b(?:Tel|TEL|Telefon|TELEFON|Gsm|GSM|Faks|FAKS|Fax|FAX|Cep)(?: ?(?:No|NO|no|Nr))?[.:]{0,2} ?:? ?)"
    r"\(?\d{3,4}\)?[ .-]?\d{2,3}[ .-]?\d{2}(?:[ .-]?\d{2}){0,2}(?![\w/-]|[.,]\d)"
)


class Privacy(Step):
    """Replaces what is personal by a placeholder, never drops a document."""

    name: ClassVar[str] = "privacy"
    kinds: list[Kind] = Field(default=list(KINDS), min_length=1)

    def ready(self, language: str) -> Clean:
        masks = [_MASKS[kind] for kind in KINDS if kind in self.kinds and kind != "email"]
        emails = "email" in self.kinds

        def clean(text: str) -> str:
            if emails and "@" in text:
                text = _EMAIL.sub(PLACEHOLDERS["email"], text)
            return _mask_lines(text, masks)

        return clean


def _mask_lines(text: str, masks: list[Callable[[str], str]]) -> str:
    """Masked where a line holds digits enough for a number: a line in hundreds, so the rest costs one fast search."""
    pieces, end = [], 0
    for dense in _DENSE.finditer(text):
        if dense.start() >= end:
            start = max(end, text.rfind("\n", 0, dense.start()) + 1)
            pieces.append(text[end:start])
            end = text.find("\n", dense.end())
            end = len(text) if end < 0 else end
            line = text[start:end]
            for mask in masks:
                line = mask(line)
            pieces.append(line)
    return "".join([*pieces, text[end:]]) if pieces else text


def is_iban(text: str) -> bool:
    """Whether letters and digits without blanks are an IBAN: two letters, check digits, remainder 1 modulo 97."""
    turned = text[4:] + text[:4]
    return 15 <= len(text) <= 34 and int("".join(str(int(sign, 36)) for sign in turned)) % 97 == 1


def is_national_id(text: str) -> bool:
    """Whether 11 digits are a Turkish national id (T.C. kimlik numarası): the last two check the others."""
    digits = [int(digit) for digit in text]
    tenth = (7 * sum(digits[0:9:2]) - sum(digits[1:8:2])) % 10
    return digits[9] == tenth and digits[10] == sum(digits[:10]) % 10


def _mask_ibans(text: str) -> str:
    return _IBAN.sub(_iban, text)


def _iban(match: re.Match[str]) -> str:
    """Words in capitals behind an IBAN look like groups of it, so they are left out before its digits are checked."""
    number = match[0]
    while number.rpartition(" ")[2].isalpha():
        number = number.rpartition(" ")[0]
    return PLACEHOLDERS["iban"] + match[0][len(number) :] if is_iban(number.replace(" ", "")) else match[0]


def _mask_phones(text: str) -> str:
    return _LABELLED.sub(rf"\1{PLACEHOLDERS['phone']}", _PHONE.sub(PLACEHOLDERS["phone"], text))


def _mask_national_ids(text: str) -> str:
    return _NATIONAL_ID.sub(lambda match: PLACEHOLDERS["national_id"] if is_national_id(match[0]) else match[0], text)


_MASKS: dict[Kind, Callable[[str], str]] = {
    "iban": _mask_ibans,
    "phone": _mask_phones,
    "national_id": _mask_national_ids,
}
