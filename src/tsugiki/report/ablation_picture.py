"""An ablation as a picture: a map of modules, and bars for layers and sites."""

from collections.abc import Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tsugiki.ablation import Ablation, Part
from tsugiki.i18n import text
from tsugiki.report.ablation import ERRORS
from tsugiki.report.fonts import fonts
from tsugiki.report.plots import Target

_DPI = 150
_MISSED, _KEPT = "#D55E00", "#0072B2"
_WIDTH = 0.38
# Characters of a line of the map's title, which is to stay above the map.
_TITLE = 30


def ablation_picture(ablation: Ablation, path: Target) -> None:
    """Draw how much each module is missed, and what layers and sites are missed for and keep alone."""
    layers, sites = ablation.of("layer"), ablation.of("site")
    with fonts():
        size = (1.8 + 0.55 * len(layers), max(2.6, 1.2 + 0.36 * len(sites)))
        figure = Figure(figsize=(size[0] + 7.5, size[1] + 1), dpi=_DPI, layout="constrained")
        left, middle, right = figure.subplots(1, 3, width_ratios=(size[0], 3.75, 3.75))
        _map(figure, left, ablation, [part.layer for part in layers], [part.site for part in sites])
        _bars(middle, layers, [str(part.layer) for part in layers], "report.axis_layer")
        _bars(right, sites, [str(part.site) for part in sites], "report.axis_site")
        figure.savefig(path, format="png", bbox_inches="tight", pad_inches=0.1)


def _map(
    figure: Figure, axes: Axes, ablation: Ablation, layers: Sequence[int | None], sites: Sequence[str | None]
) -> None:
    missed = np.full((len(sites), len(layers)), np.nan)
    for part in ablation.of("module"):
        missed[sites.index(part.site), layers.index(part.layer)] = part.missed
    far = max(float(np.nanmax(np.abs(missed))), 1e-9)
    image = axes.imshow(missed, cmap="RdBu_r", aspect="auto", origin="lower", vmin=-far, vmax=far)
    axes.set_yticks(range(len(sites)), [str(site) for site in sites], fontsize=8)
    axes.set_xticks(range(len(layers)), [str(layer) for layer in layers])
    axes.set_xlabel(text("report.axis_layer"))
    axes.set_title(fill(text("report.ablation_modules"), _TITLE), loc="left", fontsize=10)
    for part in ablation.of("module"):
        if abs(part.missed) > ERRORS * part.missed_error:
            axes.text(layers.index(part.layer), sites.index(part.site), "*", ha="center", va="center")
    figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02).set_label(text("report.axis_missed"))


def _bars(axes: Axes, parts: Sequence[Part], names: Sequence[str], caption: str) -> None:
    places = np.arange(len(parts))
    missed = [part.missed for part in parts], [ERRORS * part.missed_error for part in parts]
    kept = [part.kept or 0.0 for part in parts], [ERRORS * (part.kept_error or 0.0) for part in parts]
    for (values, errors), colour, at, name in ((missed, _MISSED, 0.5, "missed"), (kept, _KEPT, -0.5, "kept")):
        label, thin = text(f"report.ablation_{name}_bar"), {"linewidth": 1}
        axes.barh(places + at * _WIDTH, values, _WIDTH, xerr=errors, color=colour, label=label, error_kw=thin)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(places, names, fontsize=8)
    axes.set_title(text(caption), loc="left", fontsize=10)
    axes.set_xlabel(text("report.axis_brought"))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False)
