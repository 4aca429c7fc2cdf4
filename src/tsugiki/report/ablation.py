"""An ablation in words: the sentences that it comes to, and the lines of its table."""

from collections.abc import Iterator

from tsugiki.ablation import Ablation, Part
from tsugiki.i18n import text

ERRORS = 1.64
"""Standard errors of a mean, between which it lies in nine of ten cases."""

# Less cannot be told from the noise of a clock.
_TIMED_MS = 0.02


def guidance(ablation: Ablation) -> Iterator[str]:
    """What the modules bring in all, which layers that is due to, and what to try."""
    facts = {"loss": ablation.loss, "without": ablation.loss_without, "rows": ablation.num_rows}
    scores = {"score": 100 * ablation.score, "score_without": 100 * ablation.score_without}
    yield text("report.ablation_all", **facts, **scores)
    if ablation.gain <= 0:
        yield text("report.ablation_nothing")
        return
    layers = ablation.of("layer")
    best = max(layers, key=lambda part: part.kept or 0.0)
    yield text("report.ablation_alone", layer=best.layer, share=100 * (best.kept or 0.0) / ablation.gain)
    missed = [part for part in layers if part.missed > ERRORS * part.missed_error]
    if not missed:
        yield text("report.ablation_shared")
        return
    lowest = min(part.layer or 0 for part in missed)
    names = ", ".join(str(part.layer) for part in missed)
    yield text("report.ablation_missed", layers=names)
    if any((part.layer or 0) < lowest for part in layers):
        yield text("report.ablation_boundary", boundary=lowest)


def columns() -> list[str]:
    """Names of what `lines` lists."""
    names = ("layer", "site", "missed", "kept", "parameters", "per_million", "added_ms", "per_ms")
    return [text(f"report.ablation_column.{name}") for name in names]


def lines(ablation: Ablation) -> list[tuple[str, ...]]:
    """A line for each layer and site: what it is missed for and keeps, in all, per parameter and per millisecond."""
    return [_line(part) for part in (*ablation.of("layer"), *ablation.of("site"))]


def _line(part: Part) -> tuple[str, ...]:
    kept, error, added_ms = part.kept or 0.0, part.kept_error or 0.0, part.added_ms or 0.0
    return (
        "-" if part.layer is None else str(part.layer),
        part.site or "-",
        f"{part.missed:.4f} ± {ERRORS * part.missed_error:.4f}",
        f"{kept:.4f} ± {ERRORS * error:.4f}",
        f"{part.num_params:,}",
        f"{1e6 * kept / part.num_params:.3f}",
        f"{added_ms:.3f}",
        # Next to nothing cannot be timed, and what is divided by it says nothing.
        f"{kept / added_ms:.3f}" if added_ms > _TIMED_MS else "-",
    )
