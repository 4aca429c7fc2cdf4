"""One way of using the base that was tried, with what it scored and cost."""

import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from tsugiki.manifest import Forecast, HeadFacts, Placement, RoutingFacts
from tsugiki.train.head import LinearHead


@dataclass(frozen=True)
class Candidate:
    """A finished candidate of a race.

    Args:
        variant: `words`, `head`, `head + words`, `readout`, `suffix b/e`, ...
        score: on validation (0..1); NaN where no row was held out.
        loss: mean loss there.
        train_s: its own seconds; the cache, which all share, is not counted here.
        predicted_s: what its first steps foretold; 0 where nothing was stepped.
        num_trainable: trained parameters in use.
        curve: (own seconds, score on validation).
        placement: of its modules.
        head: what reads states and words.
        tensors: all trained tensors, named as in a package.
        logits: of the validation rows, (M, C).
        forecasts: costs of a placement that was chosen, foretold and measured, by name.
        start: what modules and readers start from, where this is the fitted head.
        routing: of groups of modules, where it has some.
        gap: score on training rows less that on validation (0..1), where this is the fitted head.
        runs: share of validation rows for which the base is run at all (0..1).
    """

    variant: str
    score: float
    loss: float
    train_s: float
    predicted_s: float
    num_trainable: int
    curve: tuple[tuple[float, float], ...]
    placement: Placement
    head: HeadFacts
    tensors: dict[str, Tensor]
    logits: Tensor
    forecasts: dict[str, Forecast] = field(default_factory=dict)
    start: LinearHead | None = None
    routing: RoutingFacts | None = None
    gap: float = 0.0
    runs: float = 1.0

    def facts(self) -> dict[str, Any]:
        """What the manifest and the bill say of it."""
        return {
            "variant": self.variant,
            "score": None if math.isnan(self.score) else round(self.score, 4),
            "train_s": round(self.train_s, 3),
            "predicted_s": round(self.predicted_s, 3),
            "num_trainable": self.num_trainable,
        }
