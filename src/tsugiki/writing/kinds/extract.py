"""What stands in a text, one item after the other, with `;` between."""

from typing import ClassVar, Literal

from tsugiki.writing.writing import Metric, Writing


class Extract(Writing):
    """Judged by the items that are found and no others."""

    kind: Literal["extract"] = "extract"
    scored_by: ClassVar[Metric] = "item_f1"
