"""Whether what was written answers as the adapter does."""

import random
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tsugiki.adapt.adapted import AdaptedModel
from tsugiki.adapt.package import Package
from tsugiki.base.model import Base
from tsugiki.base.tokens import encode
from tsugiki.errors import ExportError
from tsugiki.tasks.adapter import Adapter

# Tokens of each text: batches are padded, and of several lengths.
_LENGTHS = (1, 2, 5, 12, 40, 5, 1)
# Of the largest score. In 16 bits a module that was rounded into a weight differs by that from one beside it.
_TOLERANCE, _TOLERANCE_16_BIT = 1e-3, 5e-2


def sample_texts(base: Base) -> list[str]:
    """Texts of random tokens that the base knows, short and long."""
    chance, tokens = random.Random(0), sorted(base.tokenizer.get_vocab().values())
    drawn = (chance.choices(tokens, k=length) for length in _LENGTHS)
    return [base.tokenizer.decode(ids, skip_special_tokens=True).strip() or "a" for ids in drawn]


def answers(package: Package, base: Base, texts: Sequence[str]) -> NDArray[np.float32]:
    """The adapter's own scores (N, C); where it has no classes, what the adapted model ends with (N, V or d)."""
    if "labels" in package.manifest.task:
        adapter = Adapter(package, base)
        try:
            return adapter.scores(texts)
        finally:
            adapter.close()
    adapted = AdaptedModel(base.model, base.anatomy)
    adapted.attach("it", package.grafts, package.part("modules"))
    try:
        with adapted.using("it"):
            return endings(base, texts)
    finally:
        adapted.detach()


@torch.inference_mode()
def endings(base: Base, texts: Sequence[str]) -> NDArray[np.float32]:
    """What the model ends with at the last token of each text: logits of the next one (N, V), or a state (N, d)."""
    found = []
    for ids in encode(base, texts, max(_LENGTHS)):
        output = base.model(torch.tensor([ids], device=base.device))
        last = output.logits if hasattr(output, "logits") else output.last_hidden_state
        found.append(last[0, -1].float().cpu())
    return torch.stack(found).numpy()


def require_equal(package: Package, base: Base, own: NDArray[np.float32], written: NDArray[np.float32]) -> None:
    """See that two sets of scores are the same but for rounding.

    Raises:
        ExportError: they are not.
    """
    tolerance = _TOLERANCE if base.dtype == torch.float32 else _TOLERANCE_16_BIT
    allowed = tolerance * max(1.0, float(np.abs(own).max()))
    found = float(np.abs(own - written).max())
    if not found <= allowed:
        facts = {"found": f"{found:.2g}", "allowed": f"{allowed:.2g}", "base": base.name}
        raise ExportError("export.differs", package=package.manifest.name, **facts)
