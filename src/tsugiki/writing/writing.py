"""The contract of a task that is answered with a text: how it is asked, and what an answer is worth.

A task is one file in `kinds/`. What it shares with the others is in `Wording` (tokens) and `metrics` (scores).
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import field_validator

from tsugiki.family import Family
from tsugiki.spec import Spec
from tsugiki.writing.metrics import METRICS, corpus_scores

Metric = Literal["chrf", "rouge_l", "exact_match", "token_f1", "item_f1"]
SOURCE = "{source}"


class Writing(Spec):
    """What is to be written.

    `usual` is the prompt of bases that know no conversations, and `scored_by` the metric where nobody names another.

    Args:
        kind: name of the task.
        prompt: what a base is asked, with `{source}` in it; None takes the chat template of the base, or the usual one.
        metric: by whose mean over rows answers are judged; None takes the usual one.
    """

    kind: str
    prompt: str | None = None
    metric: Metric | None = None
    usual: ClassVar[str] = f"{SOURCE}\n"
    scored_by: ClassVar[Metric]

    @field_validator("prompt")
    @classmethod
    def _has_a_place(cls, prompt: str | None) -> str | None:
        if prompt is not None and prompt.count(SOURCE) != 1:
            raise ValueError(f"a prompt needs one {SOURCE} in it, where the input goes")
        return prompt

    @property
    def judged_by(self) -> Metric:
        """The metric of the score."""
        return self.metric or self.scored_by

    def match(self, answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
        """How good each answer is, beside the references of its row, of which the nearest counts (0..1)."""
        measure = METRICS[self.judged_by]
        pairs = zip(answers, references, strict=True)
        return [max(measure(answer, reference) for reference in own) for answer, own in pairs]

    def scores(self, answers: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
        """What else there is to say of answers, over all rows together, by the name of the score (0..1)."""
        return corpus_scores(answers, references)


WRITINGS: Family[Writing] = Family("tsugiki.writing.kinds", Writing)


def writes(kind: object) -> bool:
    """Whether a task is answered with a text."""
    return kind in WRITINGS.names()
