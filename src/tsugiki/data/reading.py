"""How rows are to be read: what a user says about a file, and what a package remembers of it."""

from collections.abc import Collection
from typing import Annotated, Any

from pydantic import BeforeValidator

from tsugiki.spec import Spec


def _split(value: Any) -> Any:
    """One name, several between commas, or a list."""
    if value is None:
        return ()
    return tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else value


class Reading(Spec):
    """Which columns of which sheet, in which encoding.

    Args:
        text: columns of the texts, joined in this order; a text is split at its commas, empty finds the one by name.
        pair: column of the second texts, where rows are pairs of texts; None: none, unless two columns are named so.
        label: column of the labels; None finds it by name.
        domains: column that says from which domain a row is, where domains are to have modules of their own.
        task: what labels are, such as `classify`, `tag` (any number in a row) or `grade` (ordered); None finds out
            whether cells hold several.
        grades: labels in their order, lowest first; empty takes that of the numbers that they are.
        sheet: of a workbook; None takes the only one that is not empty.
        encoding: of text files; None recognises it.
    """

    text: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()
    pair: str | None = None
    label: str | None = None
    domains: str | None = None
    task: str | None = None
    grades: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()
    sheet: str | None = None
    encoding: str | None = None

    @classmethod
    def of(cls, **named: str | None) -> "Reading":
        """What a user named; what is None was not."""
        return cls.model_validate({name: value for name, value in named.items() if value is not None})

    def over(self, **named: str | None) -> "Reading":
        """The same, with what a user named in place of its own."""
        return self.model_copy(update={n: getattr(self.of(**named), n) for n, v in named.items() if v is not None})

    def fitting(self, columns: Collection[str]) -> "Reading":
        """The same for a table that may lack the columns: those that are not there are found by name."""
        text = self.text if {*self.text} <= {*columns} or ",".join(self.text) in columns else ()
        there = {
            name: found if (found := getattr(self, name)) in columns else None for name in ("pair", "label", "domains")
        }
        return self.model_copy(update={"text": text, **there})
