"""One table over all sets, put into the README of each language, and a picture of it.

`python -m benchmarks.summary`. Reads `benchmarks/results`, writes `summary.json` and `summary.png` there and the table
between the markers of `README.md` and `README.ja.md`. Times faster are geometric means over seeds and folds of the
seconds until the target score on validation was reached. A rival that did not reach it counts with its seconds of
training, too few; a run of ours that did not counts with its own seconds and those of full fine-tuning on top, to which
one would have to fall back. The interval of the mean over sets takes the sets' own bootstrap intervals as independent.
"""

import json
import re
from collections.abc import Iterable
from math import exp, log, sqrt
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from benchmarks.sets import FOLDED, RESULTS, WHOLE
from tsugiki.report.verdicts import SIMPLE

ROOT = Path(__file__).parents[1]
METHODS = ("full", "LoRA", "probe-all", "TF-IDF", "tsugiki")
# By README: the words around the names of methods, which are the same in every language.
WORDS = {
    "README.md": {
        "heads": ("set", *METHODS, "against full [90 %]", "faster than full", "than LoRA"),
        "reached": " ({reached} of {runs} runs reach the target)",
        "times": "{times:.1f} x",
        "mean": "mean",
    },
    "README.ja.md": {
        "heads": ("データ", *METHODS, "full との差 [90% 区間]", "full より", "LoRA より"),
        "reached": "({runs} 回中 {reached} 回が目標に到達)",
        "times": "{times:.1f} 倍速い",
        "mean": "平均",
    },
}
CLOSE_POINTS = 1.0
RIVALS = ("full", "lora")
Row = dict[str, Any]


def summary(name: str) -> Row:
    """What is said of a set."""
    rows = [row for row in json.loads((RESULTS / f"{name}.json").read_text()) if row["won"]]
    differences = json.loads((RESULTS / f"{name}.differences.json").read_text())
    by_method = {
        method: [row for row in rows if row["method"] == method] for method in sorted({r["method"] for r in rows})
    }
    scores = {method: 100 * fmean(row["score"] for row in own) for method, own in by_method.items()}
    ours = by_method["tsugiki"]
    against = {d["against"]: d for d in differences if d["method"] == "tsugiki"}
    simple = next(name for name in SIMPLE if name in against)
    return {
        "dataset": name,
        "scores": scores,
        "variants": sorted({row["variant"] for row in ours}),
        "to_full": _interval(against["full"]),
        "to_simple": {"method": simple, **_interval(against[simple])},
        "close": any(scores[method] >= scores["full"] - CLOSE_POINTS for method in SIMPLE),
        "times_faster": {rival: _times(by_method[rival], ours, by_method["full"]) for rival in RIVALS},
        "reached": {method: [_reached(own), len(own)] for method, own in by_method.items()},
        "peak_share": {rival: _ratio("peak_bytes", ours, by_method[rival]) for rival in RIVALS},
        "trainable_share": max(row["trainable_share"] for row in ours),
        "train_s": {method: fmean(row["train_s"] for row in own) for method, own in by_method.items()},
    }


def over(sets: list[Row]) -> Row:
    """Means over the sets, and over those that are not marked."""
    open_sets = [s for s in sets if not s["close"]]
    spread = sqrt(sum(((s["to_full"]["high"] - s["to_full"]["low"]) / 2) ** 2 for s in sets)) / len(sets)
    mean = fmean(s["to_full"]["points"] for s in sets)
    return {
        "to_full": {"points": mean, "low": mean - spread, "high": mean + spread},
        "times_faster": {r: _geometric(s["times_faster"][r] for s in sets) for r in RIVALS},
        "times_faster_not_close": {r: _geometric(s["times_faster"][r] for s in open_sets) for r in RIVALS},
        "peak_share": {r: fmean(s["peak_share"][r] for s in sets) for r in RIVALS},
    }


def _interval(difference: Row) -> Row:
    return {
        "points": difference["difference_points"],
        "low": difference["low_points"],
        "high": difference["high_points"],
    }


def _times(rival: list[Row], ours: list[Row], full: list[Row]) -> float:
    own, fallback = ({(row["dataset"], row["seed"]): row for row in rows} for rows in (ours, full))
    ratios = []
    for row in rival:
        mine = own[row["dataset"], row["seed"]]
        seconds = mine["time_to_target_s"]
        if seconds is None:
            seconds = mine["train_s"] + _seconds(fallback[row["dataset"], row["seed"]])
        ratios.append(_seconds(row) / seconds)
    return _geometric(ratios)


def _seconds(row: Row) -> float:
    reached: float | None = row["time_to_target_s"]
    return float(row["train_s"]) if reached is None else reached


def _reached(rows: list[Row]) -> int:
    return sum(row["time_to_target_s"] is not None for row in rows)


def _ratio(field: str, ours: list[Row], rival: list[Row]) -> float:
    return fmean(row[field] for row in ours) / fmean(row[field] for row in rival)


def _geometric(values: Iterable[float]) -> float:
    logs = [log(value) for value in values]
    return exp(fmean(logs)) if logs else float("nan")


# --- what is written -------------------------------------------------------------------------------------------------


def table(sets: list[Row], mean: Row, words: Row) -> str:
    """The table of a README, in its words."""
    heads = words["heads"]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---|" * (len(heads) - 1)]
    for s in sets:
        scores = s["scores"]
        cells = (
            s["dataset"] + (" *" if s["close"] else ""),
            f"{scores['full']:.1f}",
            f"{scores['lora']:.1f}" + _count(s, "lora", words),
            *(f"{scores[method]:.1f}" for method in SIMPLE),
            f"**{scores['tsugiki']:.1f}**" + _count(s, "tsugiki", words),
            _points(s["to_full"]),
            *(words["times"].format(times=s["times_faster"][rival]) for rival in RIVALS),
        )
        lines.append("| " + " | ".join(cells) + " |")
    faster = (words["times"].format(times=mean["times_faster"][rival]) for rival in RIVALS)
    lines.append("| " + " | ".join((words["mean"], *[""] * len(METHODS), _points(mean["to_full"]), *faster)) + " |")
    return "\n".join(lines)


def _points(interval: Row) -> str:
    return f"{interval['points']:+.1f} [{interval['low']:+.1f}, {interval['high']:+.1f}]"


def _count(found: Row, method: str, words: Row) -> str:
    reached, runs = found["reached"][method]
    return "" if reached == runs else str(words["reached"].format(reached=reached, runs=runs))


def picture(sets: list[Row], path: Path) -> None:
    """Score and seconds of every method, a panel per set."""
    figure = Figure(figsize=(3.2 * len(sets), 3.4), dpi=150, layout="constrained")
    for axes, found in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        for number, (method, score) in enumerate(sorted(found["scores"].items())):
            seconds = found["train_s"][method]
            axes.plot(seconds, score, "os^DvP"[number % 6], label=method)
            axes.annotate(method, (seconds, score), textcoords="offset points", xytext=(5, 4), fontsize=8)
        axes.set_xscale("log")
        axes.margins(0.25, 0.15)
        axes.set_title(found["dataset"], fontsize=9)
        axes.set_xlabel("seconds of training")
    figure.axes[0].set_ylabel("accuracy on test rows (%)")
    figure.savefig(path)


def _put(readme: Path, rows: str) -> None:
    text = readme.read_text(encoding="utf-8")
    block = re.compile(r"(<!-- sets:begin -->\n).*?(<!-- sets:end -->)", re.DOTALL)
    readme.write_text(block.sub(lambda m: f"{m[1]}{rows}\n{m[2]}", text), encoding="utf-8")


def main() -> None:
    """Summarise what has been measured."""
    sets = [summary(name) for name in (*WHOLE, *FOLDED) if (RESULTS / f"{name}.json").exists()]
    mean = over(sets)
    (RESULTS / "summary.json").write_text(json.dumps({"sets": sets, "mean": mean}, indent=1), encoding="utf-8")
    picture(sets, RESULTS / "summary.png")
    for name, words in WORDS.items():
        _put(ROOT / name, table(sets, mean, words))
        print(table(sets, mean, words))
    print(json.dumps(mean, indent=1))


if __name__ == "__main__":
    main()
