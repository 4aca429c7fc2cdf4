"""What a comparison found: its rows, how its methods differ, and the files that tell of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.text import Text

from tsugiki.evaluate.metrics import paired_bootstrap
from tsugiki.evaluate.result import Result, write_results
from tsugiki.report.html import comparison_page, comparison_part
from tsugiki.report.plots import coverage_by_method, png, score_by_parameters, score_by_time
from tsugiki.report.tables import comparison_tables, plain
from tsugiki.report.verdicts import SIMPLE, verdicts
from tsugiki.spec import Spec

_LEVEL = 0.90

Correct = NDArray[np.float32]


class Difference(Spec):
    """How a method's score differs from another's, by paired bootstrap over rows and seeds.

    Args:
        method: of which this is said.
        against: the other one.
        difference_points: its score less that of the other.
        low_points: lower end of the interval.
        high_points: upper end.
        level: of the interval (0..1).
    """

    method: str
    against: str
    difference_points: float
    low_points: float
    high_points: float
    level: float = _LEVEL


@dataclass(frozen=True)
class Comparison:
    """Everything a comparison found.

    Args:
        results: rows by method, seed and candidate.
        differences: of each method against `full`, and against the better of `probe-all` and `tfidf` on validation.
        target_score: mean validation score of full fine-tuning less one point; None where it is not among the methods.
        correct: how right the answer to each test row was under each seed, (S, N) 0..1, by method.
    """

    results: tuple[Result, ...]
    differences: tuple[Difference, ...]
    target_score: float | None
    correct: dict[str, Correct] = field(repr=False)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The results as plain data, as in `results.json`."""
        return [row.model_dump(mode="json") for row in self.results]

    @property
    def verdicts(self) -> list[str]:
        """What it comes to, in sentences."""
        return list(verdicts(self.rows, self._plain_differences))

    def table(self) -> Group:
        """For a terminal."""
        return Group(comparison_tables(self.rows, self._plain_differences), *map(Text, self.verdicts))

    def write(self, out: Path) -> None:
        """Write `results.json`, `differences.json`, `table.txt`, three pictures and `compare.html`."""
        write_results(out / "results.json", self.results)
        (out / "differences.json").write_text(json.dumps(self._plain_differences, indent=1), encoding="utf-8")
        (out / "table.txt").write_text(plain(self.table()), encoding="utf-8")
        pictures = self._pictures()
        for caption, picture in pictures.items():
            (out / f"{caption.partition('.')[2]}.png").write_bytes(picture)
        page = comparison_page(self.rows, self._plain_differences, pictures)
        (out / "compare.html").write_text(page, encoding="utf-8")

    def _repr_html_(self) -> str:
        """In a notebook: what `compare.html` shows."""
        return comparison_part(self.rows, self._plain_differences, self._pictures())

    @property
    def _plain_differences(self) -> list[dict[str, Any]]:
        return [d.model_dump(mode="json") for d in self.differences]

    def _pictures(self) -> dict[str, bytes]:
        """PNG files by the key of their caption."""
        return {
            "report.score_by_time": png(score_by_time, self.rows),
            "report.score_by_parameters": png(score_by_parameters, self.rows),
            "report.coverage": png(coverage_by_method, self.rows),
        }


def differences(results: Sequence[Result], correct: Mapping[str, Correct]) -> tuple[Difference, ...]:
    """Each method against full fine-tuning, and against the better of the two that train nothing inside the base.

    Args:
        results: rows by method and seed; which simple method is better is decided by their validation scores.
        correct: how right the answer to each test row was under each seed, (S, N) 0..1, by method; rows of several
            folds may stand side by side.
    """

    def validated(method: str) -> float:
        return float(np.mean([row.validation_score for row in results if row.won and row.method == method]))

    simple = [name for name in SIMPLE if name in correct]
    rivals = (["full"] if "full" in correct else []) + ([max(simple, key=validated)] if simple else [])
    return tuple(
        Difference(method=name, against=rival, **_interval(correct[name], correct[rival]))
        for rival in rivals
        for name in correct
        if name != rival
    )


def _interval(first: NDArray[Any], second: NDArray[Any]) -> dict[str, float]:
    return paired_bootstrap(first, second, level=_LEVEL)._asdict()
