"""An audit as a picture."""

import numpy as np
from matplotlib.figure import Figure

from tsugiki.audited import ERRORS, Audit
from tsugiki.i18n import text
from tsugiki.report.audit import called
from tsugiki.report.fonts import fonts
from tsugiki.report.plots import Target

_DPI, _FOR, _AGAINST = 150, "#0072B2", "#D55E00"


def audit_picture(audit: Audit, path: Target) -> None:
    """Draw what each member brings, and what pairs bring beyond that."""
    names, number = [called(member) for member in audit.members], len(audit.members)
    table = np.full((number, number), np.nan)
    for pair in audit.pairs:
        table[pair.first, pair.second] = table[pair.second, pair.first] = pair.beyond
    most = float(np.nanmax(np.abs(table))) if audit.pairs else 1.0
    with fonts():
        size = 1.6 + 0.38 * number
        figure = Figure(figsize=(7 + size + 2, size + 1), dpi=_DPI, layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(6, size + 2))
        effects = [member.effect for member in audit.members]
        errors = [ERRORS * (member.error or 0.0) for member in audit.members]
        colours = [_FOR if effect > 0 else _AGAINST for effect in effects]
        left.barh(names, effects, 0.6, xerr=errors, color=colours)
        left.invert_yaxis()
        left.axvline(0, color="black", linewidth=0.8)
        left.set_title(text("report.audit_effects"), loc="left", fontsize=10)
        left.set_xlabel(text("report.explain_axis"))
        left.spines[["top", "right"]].set_visible(False)
        image = right.imshow(table, cmap="PuOr", vmin=-(most or 1.0), vmax=most or 1.0)
        right.set_xticks(range(number), names, rotation=60, ha="right", fontsize=8)
        right.set_yticks(range(number), names, fontsize=8)
        right.set_title(text("report.audit_pairs"), loc="left", fontsize=10)
        figure.colorbar(image, ax=right)
        figure.savefig(path, format="png", bbox_inches="tight", pad_inches=0.1)
