"""What a cleaning step is: its options as a schema, and a function from text to text or to the reason for a drop."""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

from recipes.schema import Strict


class Drop(NamedTuple):
    """The document goes; `reason` says which rule, for example `quality.few_stop_words`."""

    reason: str


Clean = Callable[[str], str | Drop]


class Step(Strict):
    """The options of one step, as fields with defaults. Subclasses set `name`, by which the corpus file asks for it."""

    name: ClassVar[str]

    def ready(self, language: str) -> Clean:
        """The function that cleans documents of a source in `language` (ISO 639-1, or `code`).

        Raises:
            UserError: something that the step needs is not installed or not there.
        """
        raise NotImplementedError
