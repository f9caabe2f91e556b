"""Drops documents that are too short or too long.

A document of a few characters (an empty page, a title, a repealed law of which only the number is left) teaches
nothing; one of hundreds of megabytes is mostly a dump.
"""

from typing import ClassVar

from pydantic import Field, model_validator

from data_prep.cleaning.step import Clean, Drop, Step


class Length(Step):
    """Drops `length.too_short`, `length.too_long` and `length.few_words`."""

    name: ClassVar[str] = "length"
    minimum_characters: int = Field(1, ge=0)
    maximum_characters: int | None = Field(None, ge=1)
    minimum_words: int = Field(0, ge=0)  # parted by blank space

    @model_validator(mode="after")
    def _order(self) -> "Length":
        if self.maximum_characters is not None and self.maximum_characters < self.minimum_characters:
            raise ValueError("maximum_characters is below minimum_characters: no document would be left")
        return self

    def ready(self, language: str) -> Clean:
        return self._judge

    def _judge(self, text: str) -> str | Drop:
        if len(text) < self.minimum_characters:
            return Drop("length.too_short")
        if self.maximum_characters is not None and len(text) > self.maximum_characters:
            return Drop("length.too_long")
        if self.minimum_words and len(text.split(maxsplit=self.minimum_words)) < self.minimum_words:
            return Drop("length.few_words")
        return text
