"""A picture beside the figures of each benchmark that has none of its own.

`python -m benchmarks.pictures`. Reads `benchmarks/results` and writes `deep.png`, `warm.png`, `serving.png` and
`start.png` there: bars, with a mark where a figure is wanted at least, or at most. Nothing is measured.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from benchmarks.sets import RESULTS

Row = dict[str, Any]


class Bars(NamedTuple):
    """One panel: its title, the figure of a row, and what is wanted of it by the row's name."""

    title: str
    figure: Callable[[Row], float]
    wanted: dict[str, float]


_ANSWER = {"null": 1.02, "adapted": 1.1, "exit": 1.0}
_START = {"import": 0.1, "--help": 0.4, "predict": 4.0}
PICTURES: dict[str, tuple[str, tuple[Bars, ...]]] = {
    "deep": (
        "method",
        (
            Bars(
                "24 layers: times faster than full fine-tuning (mark: at least)",
                lambda row: row["times_faster_than_full"],
                {"suffix, one layer": 14, "suffix, two layers": 8, "readout": 20},
            ),
            Bars(
                "than LoRA",
                lambda row: row["times_faster_than_lora"],
                {"suffix, one layer": 12, "suffix, two layers": 7, "readout": 20},
            ),
        ),
    ),
    "warm": (
        "variant",
        (
            Bars(
                "second run: times faster (mark: at least)", lambda row: row["times_faster"], {"head": 3, "readout": 3}
            ),
            Bars(
                "20 new rows: share of the first time (mark: at most)",
                lambda row: row["new_rows_share_of_first"],
                {"head": 0.25, "readout": 0.25},
            ),
        ),
    ),
    "serving": (
        "method",
        (
            Bars("an answer, batch 1: times the base (mark: at most)", lambda row: row["times_base"], _ANSWER),
            Bars("batch 32", lambda row: row["times_base_batch32"], _ANSWER),
            Bars("memory, MB", lambda row: row["serve_peak_bytes"] / 1e6, {}),
        ),
    ),
    "start": (
        "what",
        (Bars("seconds from a cold start (mark: at most)", lambda row: row["seconds"], _START),),
    ),
}


def draw(name: str) -> Figure:
    """The picture of one benchmark."""
    key, panels = PICTURES[name]
    rows = [row for row in json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) if row.get(key)]
    picture = Figure(figsize=(4.6 * len(panels), 1.2 + 0.45 * len(rows)), dpi=150, layout="constrained")
    for axes, panel in zip(picture.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        shown = [row for row in rows if _has(panel, row)]
        names = [str(row[key]) for row in shown]
        bars = axes.barh(names, [panel.figure(row) for row in shown], color="#0072B2", height=0.6)
        axes.bar_label(bars, fmt="{:.3g}", padding=3, fontsize=8)
        for at, label in enumerate(names):
            if label in panel.wanted:
                axes.vlines(panel.wanted[label], at - 0.4, at + 0.4, color="#D55E00", linewidth=2)
        axes.set_title(panel.title, loc="left", fontsize=9)
        axes.invert_yaxis()
        axes.margins(x=0.18)
        axes.spines[["top", "right"]].set_visible(False)
    return picture


def _has(panel: Bars, row: Row) -> bool:
    try:
        return panel.figure(row) is not None
    except KeyError:
        return False


def main() -> None:
    """Draw all of them."""
    for name in PICTURES:
        draw(name).savefig(RESULTS / f"{name}.png")


if __name__ == "__main__":
    main()
