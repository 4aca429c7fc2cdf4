"""Pictures of a placement: where the gain is, what was chosen, and what else there was."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tsugiki.i18n import text
from tsugiki.report.fonts import fonts
from tsugiki.report.plots import Target

_DPI = 150
_CHOSEN, _FRONT = "#D55E00", "#0072B2"


def placement_picture(plan: Mapping[str, Any], path: Target) -> None:
    """Draw the gain of each site, with the ranks that were chosen, beside promised loss against seconds of training.

    Args:
        plan: as in `plan.json`.
        path: file to write.
    """
    with fonts():
        sites = list(dict.fromkeys(row["site"] for row in plan["evidence"]["sites"]))
        layers = 1 + max(row["layer"] for row in plan["evidence"]["sites"])
        size = (5.5 + 0.45 * layers, max(4.0, 1.6 + 0.4 * len(sites)))
        figure = Figure(figsize=(size[0] + 5, size[1]), dpi=_DPI, layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(size[0], 5))
        _map(figure, left, plan, sites, layers)
        _front(right, plan)
        figure.savefig(path, format="png", bbox_inches="tight", pad_inches=0.1)


def _map(figure: Figure, axes: Axes, plan: Mapping[str, Any], sites: list[str], layers: int) -> None:
    gains = np.full((len(sites), layers), np.nan)
    for row in plan["evidence"]["sites"]:
        gains[sites.index(row["site"]), row["layer"]] = row["gains"]["8"]
    image = axes.imshow(gains, cmap="Blues", aspect="auto", origin="lower")
    axes.set_yticks(range(len(sites)), sites, fontsize=8)
    axes.set_xticks(range(layers))
    axes.set_xlabel(text("report.axis_layer"))
    axes.set_title(text("report.placement_gain"), loc="left", fontsize=11)
    for module in (plan["chosen"] or {"modules": ()})["modules"]:
        place = module["layer"], sites.index(module["site"])
        axes.text(
            *place,
            str(module["form"].get("rank", "•")),
            ha="center",
            va="center",
            fontsize=8,
            bbox={"boxstyle": "circle,pad=0.25", "facecolor": "white", "edgecolor": _CHOSEN, "linewidth": 1.5},
        )
    figure.colorbar(image, ax=axes, shrink=0.7, pad=0.02).set_label(text("report.axis_gain"))


def _front(axes: Axes, plan: Mapping[str, Any]) -> None:
    axes.set_title(text("report.placement_front"), loc="left", fontsize=11)
    axes.set_xlabel(text("report.axis_planned_seconds"))
    axes.set_ylabel(text("report.axis_promised_loss"))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    for option in plan["pareto"]:
        chosen = plan["chosen"] is not None and option["variant"] == plan["chosen"]["variant"]
        point = option["cost"]["train_s"], option["loss"]
        axes.scatter(*point, s=48 if chosen else 24, color=_CHOSEN if chosen else _FRONT, marker="*" if chosen else "o")
        axes.annotate(option["variant"].split()[-1], point, xytext=(4, 4), textcoords="offset points", fontsize=7)
