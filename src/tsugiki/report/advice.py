"""Advice for people, in the language in force: what to do next, to expect, what it is worth, how to bring it in."""

import math
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tsugiki.i18n import text
from tsugiki.report.fonts import fonts
from tsugiki.report.html import filled, shown
from tsugiki.report.plots import Target
from tsugiki.report.tables import metric_name

_DPI = 150
_SCORE, _AUTOMATIC = "#0072B2", "#D55E00"
# Chance that a pilot without a mistake was luck.
_RISK = 0.1
_ADAPTERS = 10


def curve_picture(advice: Mapping[str, Any], path: Target) -> None:
    """Draw what was measured, and the band of what is expected, against the number of rows.

    Args:
        advice: as in `advice.json`.
        path: file to write.
    """
    with fonts():
        figure = Figure(figsize=(7.2, 4.2), dpi=_DPI, layout="constrained")
        axes = figure.add_subplot()
        _line(axes, advice["points"], advice["expected"], "score", _SCORE, "o", metric_name(advice["metric"]))
        _line(axes, advice["automatic"], advice["expected"], "automatic", _AUTOMATIC, "s", text("advise.automatic"))
        axes.axhline(100 * advice["guess"], color="#666666", linewidth=1, linestyle=(0, (1, 2)))
        axes.annotate(text("advise.guess"), (0.99, 100 * advice["guess"]), xycoords=("axes fraction", "data"), **_NOTE)
        axes.set_xscale("log", base=2)
        rows = [*(point["rows"] for point in advice["points"]), *(e["rows"] for e in advice["expected"])]
        axes.set_xticks(rows, [f"{n:,}" for n in rows], fontsize=8)
        axes.minorticks_off()
        axes.set_ylim(0, 100)
        axes.set_xlabel(text("advise.axis_rows"))
        axes.set_ylabel("%")
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8, frameon=False, loc="upper left")
        figure.savefig(path, format="png", bbox_inches="tight", pad_inches=0.1)


_NOTE: dict[str, Any] = {"ha": "right", "va": "bottom", "fontsize": 8, "color": "#666666"}


def _line(axes: Axes, points: list[Any], expected: list[Any], name: str, colour: str, marker: str, label: str) -> None:
    rows = [point["rows"] for point in points]
    means = [100 * sum(point["shares"]) / len(point["shares"]) for point in points]
    for point in points:
        shares = [100 * share for share in point["shares"]]
        axes.scatter([point["rows"]] * len(shares), shares, s=8, color=colour, alpha=0.35, linewidths=0)
    axes.plot(rows, means, color=colour, marker=marker, markersize=5, label=label)
    ahead = [e[name] for e in expected]
    axes.fill_between(
        [band["rows"] for band in ahead],
        [100 * band["low"] for band in ahead],
        [100 * band["high"] for band in ahead],
        color=colour,
        alpha=0.18,
        linewidth=0,
    )
    path = [(rows[-1], means[-1]), *((band["rows"], 100 * band["middle"]) for band in ahead)]
    axes.plot(*zip(*path, strict=True), color=colour, linestyle="--", linewidth=1)


def advice_page(advice: Mapping[str, Any], picture: bytes) -> str:
    """All of it on one page, where whoever reads it can change the assumptions."""
    pictures = shown({"advise.axis_rows": picture})
    return filled("advice.html.j2", title=_title(advice), pictures=pictures, **_values(advice))


def advice_text(advice: Mapping[str, Any]) -> str:
    """The same as plain text."""
    return filled("advice.txt.j2", **_values(advice))


def _title(advice: Mapping[str, Any]) -> str:
    return text("advise.title", rows=f"{advice['num_rows']:,}", classes=advice["num_classes"])


def _values(advice: Mapping[str, Any]) -> dict[str, Any]:
    assumed = dict(advice["assumed"])
    currency = assumed.pop("currency")
    return {
        "told": told(advice),
        "now": f"{advice['num_rows']:,}",
        "twice": f"{2 * advice['num_rows']:,}",
        "currency": currency,
        "assumed": [(name, f"{value:g}") for name, value in assumed.items()],
        # So that the page comes to the hours of the table.
        "share": f"{100 * advice['expected'][0]['automatic']['middle']:.1f}",
    }


def told(advice: Mapping[str, Any]) -> dict[str, Any]:
    """The advice in sentences and lines of tables, by the part of the page where they stand."""
    now, twice = advice["expected"]
    facts = _facts(advice, now, twice)
    return {
        "title": _title(advice),
        "verdict": text(f"advise.verdict.{advice['verdict']}", **facts),
        "hints": list(_hints(advice)),
        "axes": [
            (text("advise.effect"), _effect(advice, now, twice)),
            (text("advise.cost"), _cost(advice, now, twice)),
            (text("advise.operation"), _operation(advice["operation"])),
        ],
        "meeting": [text(f"advise.meeting.{n}", **facts) for n in ("gain", "price", "way_back")],
        "stages": [
            (text(f"advise.stage.{stage}", **facts), text(f"advise.stage.{stage}_ends", **facts))
            for stage in ("try", "pilot", "run")
        ],
    }


def _facts(advice: Mapping[str, Any], now: Mapping[str, Any], twice: Mapping[str, Any]) -> dict[str, Any]:
    assumed, wanted = advice["assumed"], advice["wanted"]
    return {
        "rows": f"{advice['num_rows']:,}",
        "twice": f"{2 * advice['num_rows']:,}",
        "metric": metric_name(advice["metric"]),
        "score": _percent(now["score"]["middle"]),
        "low": _percent(now["score"]["low"]),
        "twice_score": _percent(twice["score"]["middle"]),
        "guess": _percent(advice["guess"]),
        "share": _percent(now["automatic"]["middle"]),
        "half_share": _percent(now["automatic"]["middle"] / 2),
        "wanted": _percent(wanted),
        "hours": f"{now['worth']['hours']:,.0f}",
        "money": _money(now["worth"]["money"], assumed["currency"]),
        "setup": f"{assumed['setup_hours']:,.0f}",
        "upkeep": f"{assumed['upkeep_hours']:,.0f}",
        "back": f"{advice['operation']['back_s']:.2f}",
        "steps": advice["operation"]["steps"],
        "variant": advice["variant"],
        # So many answers without a mistake prove the precision at a risk of 10 %.
        "cases": math.ceil(math.log(1 / _RISK) / -math.log(wanted)),
    }


def _effect(advice: Mapping[str, Any], now: Mapping[str, Any], twice: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (metric_name(advice["metric"]), _band(now["score"]), _band(twice["score"])),
        (
            text("advise.automatic_at", wanted=_percent(advice["wanted"])),
            _band(now["automatic"]),
            _band(twice["automatic"]),
        ),
    ]


def _cost(advice: Mapping[str, Any], now: Mapping[str, Any], twice: Mapping[str, Any]) -> list[tuple[str, ...]]:
    currency = advice["assumed"]["currency"]
    worths = now["worth"], twice["worth"]
    hours = (f"{worth['hours']:,.0f}" for worth in worths)
    money = (_money(worth["money"], currency) for worth in worths)
    months = ("-" if worth["months"] is None else f"{worth['months']:,.1f}" for worth in worths)
    return [
        (text("advise.hours"), *hours),
        (text("advise.money"), *money),
        (text("advise.months"), *months),
    ]


def _operation(operation: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Counted, so the same for any number of rows."""
    own, base = operation["adapter_bytes"], operation["base_bytes"]
    many, copies = _ADAPTERS * own + base, _ADAPTERS * base
    return [
        (text("advise.steps"), *[str(operation["steps"])] * 2),
        (text("advise.update_steps"), *[str(operation["update_steps"])] * 2),
        (text("advise.back"), *[text("advise.seconds", count=f"{operation['back_s']:.2f}")] * 2),
        (
            text("advise.bytes", count=_ADAPTERS),
            *[text("advise.bytes_of", many=f"{many / 1e6:,.0f}", copies=f"{copies / 1e6:,.0f}")] * 2,
        ),
    ]


def _hints(advice: Mapping[str, Any]) -> Any:
    for weak in advice["weak"]:
        told = {"label": weak["label"], "rows": weak["rows"], "recall": _percent(weak["recall"])}
        yield text("advise.hint.weak", **told)
    if advice["suspects"]:
        yield text("advise.hint.suspects", count=advice["suspects"])
    if advice["near_duplicates"]:
        yield text("advise.hint.near_duplicates", count=advice["near_duplicates"])


def _band(band: Mapping[str, float]) -> str:
    return text("advise.band", **{name: _percent(band[name]) for name in ("middle", "low", "high")})


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"


def _money(amount: float, currency: str) -> str:
    return f"{amount:,.0f} {currency}"
