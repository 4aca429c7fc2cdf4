"""Receipts of answers."""

from importlib.metadata import version

from tsugiki.auditing.case import case_of
from tsugiki.base.digest import weights_digest
from tsugiki.composed.adapters import Composed
from tsugiki.receipts import Receipt
from tsugiki.tasks.adapter import Adapter


def receipt(asked: Adapter | Composed, text: str) -> Receipt:
    """The receipt of the answer to a text; of a set whose adapters do not know it, an empty one.

    Args:
        asked: an adapter that is saved or loaded, or a set of them.
        text: that is answered.
    """
    made = version("tsugiki")
    case = case_of(asked, text)
    if case is None:
        nothing = {"base": None, "packages": (), "fired": (), "label": "", "probability": 0.0, "change": 0.0}
        return Receipt.of(text, tsugiki_version=made, **nothing)  # type: ignore[arg-type]
    logits, answering = case.logits(), case.answering
    whole = answering.predictions(logits)[0]
    best = answering.task.answers(logits[:1]).best
    losses = answering.task.losses(logits, best.expand(2, *best.shape[1:]))
    manifest = case.package.manifest
    ran = manifest.base.layer_digests[: manifest.placement.exit + 1]
    return Receipt.of(
        text,
        tsugiki_version=made,
        base=weights_digest(ran) if case.base is not None else None,
        packages=tuple(package.digest for package in case.packages),
        fired=tuple((seat.name, seat.layer, seat.weight) for seat in case.seats),
        label=whole.label,
        probability=whole.probability,
        change=float(losses[1] - losses[0]),
    )
