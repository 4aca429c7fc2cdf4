"""Comma-separated values, and what Excel calls so."""

from typing import ClassVar, Literal

from tsugiki.data.formats._separated import Separated


class Csv(Separated):
    """Commas; where the first line has none, tabs or semicolons, which Excel writes in many countries."""

    kind: Literal["csv"] = "csv"
    separators: ClassVar[tuple[str, ...]] = (",", "\t", ";")
