"""Tab-separated values."""

from typing import ClassVar, Literal

from tsugiki.data.formats._separated import Separated


class Tsv(Separated):
    """Tabs."""

    kind: Literal["tsv"] = "tsv"
    separators: ClassVar[tuple[str, ...]] = ("\t",)
