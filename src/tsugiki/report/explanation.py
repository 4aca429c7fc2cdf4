"""An explanation in words, as lines of a table, and as a picture."""

from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tsugiki.explanation import Explanation, Player
from tsugiki.i18n import text
from tsugiki.report.fonts import fonts
from tsugiki.report.plots import Target

# In nats; less is nothing that anybody would notice in a probability.
_LITTLE = 0.01
_DPI, _FOR, _AGAINST = 150, "#0072B2", "#D55E00"


def reasons(explanation: Explanation) -> Iterator[str]:
    """What the answer comes to, in sentences."""
    e = explanation
    if e.adapter is None:
        yield text("report.explain_nobody")
    else:
        yield text("report.explain_answer", adapter=e.adapter, label=e.label, probability=100 * e.probability)
        yield from _modules(e)
        if e.words_share:
            yield text("report.explain_words", share=100 * e.words_share)
    if e.nearest:
        yield text("report.explain_nearest", names=", ".join(f"{n.name} ({n.above:+.1f})" for n in e.nearest))


def _modules(e: Explanation) -> Iterator[str]:
    if not e.players:
        yield text("report.explain_no_modules", variant=e.variant)
        return
    key = "same" if e.label == e.label_without else "other"
    yield text(f"report.explain_{key}", label=e.label_without, probability=100 * e.probability_without)
    best = max(e.players, key=lambda player: abs(player.value))
    if abs(best.value) < _LITTLE:
        yield text("report.explain_little")
        return
    yield text("report.explain_most", who=_called(e, best), value=best.value)
    pairs = [pair for pair in e.interactions if abs(pair.value) >= _LITTLE]
    if pairs:
        far = max(pairs, key=lambda pair: abs(pair.value))
        first, second = (_called(e, e.players[number]) for number in (far.first, far.second))
        key = "need" if far.value > 0 else "overlap"
        yield text(f"report.explain_{key}", first=first, second=second, value=abs(far.value))


def columns() -> list[str]:
    """Names of what `lines` lists."""
    return [text(f"report.explain_column.{name}") for name in ("adapter", "layer", "weight", "modules", "value")]


def lines(explanation: Explanation) -> list[tuple[str, ...]]:
    """A line for each layer with modules: what it brings to the answer."""
    return [
        (p.adapter, str(p.layer), f"{p.weight:.2f}", str(p.num_modules), f"{p.value:+.3f}" + _margin(p))
        for p in explanation.players
    ]


def explanation_picture(explanation: Explanation, path: Target) -> None:
    """Draw what each layer brings, as bars; where gates decided token by token, also which modules acted on which."""
    e = explanation
    gated = [player for player in e.players if player.by_token]
    with fonts():
        height = 1.4 + 0.4 * max(1, len(e.players))
        below = 1.6 + 0.3 * len(gated) if gated else 0.0
        width = max(7.0, 0.35 * len(e.tokens))
        figure = Figure(figsize=(width, height + below), dpi=_DPI, layout="constrained")
        if gated:
            axes, under = figure.subplots(2, height_ratios=(height, below))
            _draw_tokens(e, gated, figure, under)
        else:
            axes = figure.subplots()
        values, margins = [p.value for p in e.players], [p.margin for p in e.players]
        colours = [_FOR if value > 0 else _AGAINST for value in values]
        names = [_called(e, player) for player in e.players]
        bars = axes.barh(names, values, 0.6, xerr=margins if any(margins) else None, color=colours)
        axes.bar_label(bars, fmt="{:+.2f}", padding=4, fontsize=8)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_title(text("report.explain_title", label=e.label), loc="left", fontsize=10)
        axes.set_xlabel(text("report.explain_axis"))
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.15)
        figure.savefig(path, format="png", bbox_inches="tight", pad_inches=0.1)


def _draw_tokens(e: Explanation, gated: Sequence[Player], figure: Figure, axes: Axes) -> None:
    table = [player.by_token for player in gated]
    image = axes.imshow(table, aspect="auto", cmap="Blues", vmin=0.0)
    axes.set_xticks(range(len(e.tokens)), e.tokens, rotation=60, ha="right", fontsize=7)
    axes.set_yticks(range(len(gated)), [_called(e, player) for player in gated], fontsize=7)
    axes.set_title(text("report.explain_tokens"), loc="left", fontsize=10)
    figure.colorbar(image, ax=axes)


def _margin(player: Player) -> str:
    return f" ± {player.margin:.3f}" if player.margin else ""


def _called(e: Explanation, player: Player) -> str:
    """By its layer, and by its adapter where several act."""
    several = len({p.adapter for p in e.players}) > 1
    return text(f"report.explain_{'player' if several else 'layer'}", adapter=player.adapter, layer=player.layer)
