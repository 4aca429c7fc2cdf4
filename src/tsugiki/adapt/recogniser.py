"""Which adapters an input may be for, from the statistics that their packages carry.

An input is known to an adapter where it is no less familiar than all but a few of the rows that were held out when the
adapter was trained. How few is decided by risk control: no more of its own inputs are lost than the share that is
allowed, at the confidence that is asked for, by the exact bound for so many rows (Clopper & Pearson 1934).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from scipy.stats import beta
from torch import Tensor

from tsugiki.adapt.correction import Correction
from tsugiki.adapt.familiarity import Familiarity
from tsugiki.composition import Floor

_OF_STATE = ("mean", "covariance", "class_means", "within", "densities")


def floor_of(densities: Tensor, share: float, confidence: float) -> Floor:
    """The highest floor that loses no more than a share; where so few rows prove none, the lowest, and what it proves.

    Args:
        densities: of rows that were held out, ascending, (M,).
        share: of its own inputs that may be lost (0..1).
        confidence: of the bound (0..1).
    """
    number = len(densities)
    if not number:
        return Floor(density=-torch.inf, num_lost=0, num_rows=0, share=1.0)
    bounds = [float(beta.ppf(confidence, lost + 1, number - lost)) for lost in range(number)]
    lost = max((lost for lost, bound in enumerate(bounds) if bound <= share), default=0)
    return Floor(density=float(densities[lost]), num_lost=lost, num_rows=number, share=bounds[lost])


@dataclass(frozen=True)
class Recogniser:
    """Scores of adapters for pooled states.

    Args:
        statistics: of each adapter, of one state, without its number.
        project: the base's own projection, (d, 128).
        floors: where each stops to know its inputs.
        correction: that rows taught, where adapters are weighed against each other.
    """

    statistics: Sequence[Mapping[str, Tensor]]
    project: Tensor
    floors: Sequence[Floor]
    correction: Correction

    @cached_property
    def _familiar(self) -> tuple[Familiarity, ...]:
        return tuple(map(Familiarity.of, self.statistics))

    def densities(self, pooled: Tensor) -> Tensor:
        """How familiar pooled states (R, d) are to each adapter, (R, E)."""
        return self.densities_of(self.projected(pooled))

    def projected(self, pooled: Tensor) -> Tensor:
        """Pooled states (R, d) as statistics see them, (R, 128)."""
        return pooled.float().cpu() @ self.project

    def densities_of(self, projected: Tensor) -> Tensor:
        """How familiar projected states (R, 128) are to each adapter, (R, E)."""
        return torch.stack([familiar.log_density(projected) for familiar in self._familiar], 1)

    def scores(self, pooled: Tensor) -> Tensor:
        """How much better than nothing each adapter is for pooled states (R, d), as a router wants it, (R, E).

        An input counts as known where the adapter to which it is most familiar knows it: what that one would not have
        is no business of one to which it is stranger. Among the adapters that know it, the more familiar it is the
        better; they stand above zero by as much as the least of them stands above its floor.
        """
        projected = self.projected(pooled)
        densities = self.densities_of(projected)
        floors = torch.tensor([floor.density for floor in self.floors])
        known, weighed = densities >= floors, densities + self.correction.of(projected)
        known = known & known.gather(1, weighed.argmax(1, keepdim=True))
        least = torch.where(known, weighed, torch.inf).min(1, keepdim=True)
        above = (densities - floors).gather(1, least.indices).clamp(min=torch.finfo(torch.float32).tiny)
        # Without a held-out row there is no floor to stand above.
        above = torch.where(above.isfinite(), above, 1.0)
        return torch.where(known, weighed - least.values + above, -torch.inf)


def statistics_at(tensors: Mapping[str, Tensor], state: int) -> dict[str, Tensor]:
    """Statistics of one state among those of a package."""
    found = {name: tensors[f"{name}.{state}"] for name in _OF_STATE}
    return {**found, "class_counts": tensors["class_counts"]}
