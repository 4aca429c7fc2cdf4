"""A short text for a long one."""

from typing import ClassVar, Literal

from tsugiki.writing.writing import SOURCE, Metric, Writing


class Summarise(Writing):
    """Judged by the longest common run of words."""

    kind: Literal["summarise"] = "summarise"
    usual: ClassVar[str] = f"{SOURCE}\nSummary:"
    scored_by: ClassVar[Metric] = "rouge_l"
