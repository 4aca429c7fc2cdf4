"""How familiar a state is to an adapter: its density under what the package keeps of its own rows.

Each class is a normal distribution of one covariance around its mean, all of them of equal weight (Lee et al. 2018 take
the nearest of them). `explanation/measurements` has what other densities and other layers come to.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

# Of the mean variance, which is added to each: few rows leave directions in which nothing was seen to vary. And of the
# size of the means, where nothing varies at all.
_FLOOR, _LEAST = 1e-4, 1e-6


@dataclass(frozen=True)
class Familiarity:
    """A density over projected states.

    Args:
        means: of its parts, whitened, (K, 128).
        whitening: takes a state to where the spread is even, (128, 128).
        constant: what the logarithm has beside distances.
    """

    means: Tensor
    whitening: Tensor
    constant: float

    @classmethod
    def of(cls, statistics: Mapping[str, Tensor]) -> "Familiarity":
        """From statistics of one state: `mean`, `covariance`, `class_means`, `within`, and `class_counts`."""
        described = statistics["class_counts"] > 0
        means = statistics["class_means"][described] if described.any() else statistics["mean"][None]
        covariance = (statistics["within"] if described.any() else statistics["covariance"]).double()
        width = len(covariance)
        floor = _FLOOR * covariance.trace() / width + _LEAST * means.double().square().mean() + _LEAST**2
        values, vectors = torch.linalg.eigh(covariance + floor * torch.eye(width, dtype=torch.float64))
        values = values.clamp(min=float(floor))
        whitening = vectors / values.sqrt()
        constant = -0.5 * float(values.log().sum()) - 0.5 * width * math.log(2 * math.pi) - math.log(len(means))
        return cls(means.double() @ whitening, whitening, constant)

    def log_density(self, states: Tensor) -> Tensor:
        """Of projected states (N, 128): (N,), the higher the more familiar."""
        distances = torch.cdist(states.double() @ self.whitening, self.means).square()
        return (torch.logsumexp(-0.5 * distances, 1) + self.constant).float()
