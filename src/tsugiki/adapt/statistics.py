"""What a package keeps of its rows' states: enough to recognise its own inputs later, and not a row.

Means and shrunk covariances of pooled states, in a projection of 128 dimensions that belongs to the base (seeded by its
digest), at a quarter, half and three quarters of the layers and at the boundary; class means only from 5 rows up.
"""

import math
from collections.abc import Collection

import torch
from sklearn.covariance import ledoit_wolf
from torch import Tensor

PROJECTED = 128
MIN_CLASS_ROWS = 5
_QUANTILES = (0.5, 0.8, 0.9, 0.95, 0.99)


def projection(base_digest: str, width: int) -> Tensor:
    """The base's own projection, (d, 128): random, orthonormal in the mean, the same on every machine."""
    generator = torch.Generator().manual_seed(int(base_digest[:15], 16))
    return torch.randn(width, PROJECTED, generator=generator) / math.sqrt(width)


def statistics_of(
    base_digest: str, pooled: Tensor, indicator: Tensor, held: Tensor, layers: Collection[int]
) -> dict[str, Tensor]:
    """Statistics of one data set.

    Args:
        base_digest: of the base.
        pooled: of the training rows, every state, (N, L + 1, d).
        indicator: which classes each of these rows has, 0 or 1 (N, C).
        held: pooled states of rows that were held out, (M, L + 1, d).
        layers: states to describe.

    Returns:
        For each state `mean.S` (128,), `covariance.S` (128, 128), `class_means.S` (C, 128) with NaN-free zeros for
        classes that are too small, `distances.S` (5,): quantiles of the Mahalanobis distance of held-out rows; and
        `class_counts` (C,), zero where a class is not described, and `num_rows` (1,).
    """
    project = projection(base_digest, pooled.shape[-1])
    counts = indicator.sum(0).long()
    described = torch.where(counts >= MIN_CLASS_ROWS, counts, 0)
    found: dict[str, Tensor] = {"class_counts": described, "num_rows": torch.tensor([len(pooled)])}
    for layer in sorted(set(layers)):
        x = pooled[:, layer] @ project
        mean = x.mean(0)
        covariance = _shrunk_covariance(x - mean)
        sums = indicator.T @ x
        class_means = torch.where(described[:, None] > 0, sums / counts.clamp(min=1)[:, None], 0.0)
        found |= {f"mean.{layer}": mean, f"covariance.{layer}": covariance, f"class_means.{layer}": class_means}
        rows = held[:, layer] @ project if len(held) else x
        distances = ((rows - mean) @ torch.linalg.pinv(covariance) * (rows - mean)).sum(-1).clamp(min=0).sqrt()
        found[f"distances.{layer}"] = torch.quantile(distances, torch.tensor(_QUANTILES))
    return found


def _shrunk_covariance(centred: Tensor) -> Tensor:
    if len(centred) < 2:
        return torch.zeros(PROJECTED, PROJECTED)
    return torch.from_numpy(ledoit_wolf(centred.numpy(), assume_centered=True)[0]).float()
