"""What differs between the inputs in a receipt and those of now, by name: why something is built again."""

from collections.abc import Iterator
from typing import Any, NamedTuple

SHOWN = 3  # differences named; the rest are counted


class Difference(NamedTuple):
    """One field that is not what it was; a side that has no such field is None."""

    field: str  # path with dots; elements of a list by their `name`, or by number
    old: Any
    new: Any

    def __str__(self) -> str:
        if self.old is None and not _is_plain(self.new):
            return f"{self.field} (new)"
        if self.new is None and not _is_plain(self.old):
            return f"{self.field} (gone)"
        return (
            f"{self.field} ({_short(self.old)} -> {_short(self.new)})" if _is_plain(self.old, self.new) else self.field
        )


def differences(old: Any, new: Any, field: str = "") -> Iterator[Difference]:
    """The smallest parts in which two JSON values differ, in the order of `new`."""
    if old == new:
        return
    one, other = (_children(value) for value in (old, new))
    if one is None or other is None or not _comparable(one, other):
        yield Difference(field, old, new)
        return
    for name in dict.fromkeys([*other, *one]):
        yield from differences(one.get(name), other.get(name), f"{field}.{name}" if field else name)


def listed(found: list[str]) -> str:
    """The first few of `found` and how many more; empty for none."""
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more


def _children(value: Any) -> dict[str, Any] | None:
    """The fields of an object or the elements of a list of objects; None for a value that has none."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        return {str(each.get("name", number)): each for number, each in enumerate(value)}
    return None


def _comparable(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """False for lists whose nameless elements do not stand for the same: the lists differ as a whole."""
    numbered = [name for name in {**one, **other} if name.isdigit()]
    return all(name in one and name in other and one[name].keys() == other[name].keys() for name in numbered)


def _short(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value


def _is_plain(*values: Any) -> bool:
    """Whether a reader learns something from seeing the values: numbers and words, but no digests."""
    return all(value is None or isinstance(value, int | float) or _is_word(value) for value in values)


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and len(value) < 40
