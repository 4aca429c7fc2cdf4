"""Answers, translations, commands: any text for a text."""

from typing import ClassVar, Literal

from tsugiki.writing.writing import Metric, Writing


class Generate(Writing):
    """Judged by character n-grams, which suit any language and forgive another form of a word."""

    kind: Literal["generate"] = "generate"
    scored_by: ClassVar[Metric] = "chrf"
