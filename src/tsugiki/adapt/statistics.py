"""What a package keeps of its rows' states: enough to recognise its own inputs later, and not a row.

Means and shrunk covariances of pooled states, in a projection of 128 dimensions that belongs to the base (seeded by its
digest), at a quarter, half and three quarters of the layers and at the boundary; class means only from 5 rows up; and
how familiar rows are that were held out, one number each.
"""

import math
from collections.abc import Collection

import torch
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from tsugiki.adapt.familiarity import Familiarity

PROJECTED = 128
MIN_CLASS_ROWS = 5


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
        For each state `mean.S` (128,) and `covariance.S` (128, 128) of all rows, `class_means.S` (C, 128) with zeros
        for classes that are too small, `within.S` (128, 128), the covariance around the mean of the own class, and
        `densities.S` (M,), ascending: how familiar held-out rows are; and `class_counts` (C,), zero where a class is
        not described, and `num_rows` (1,).
    """
    project = projection(base_digest, pooled.shape[-1])
    counts = indicator.sum(0).long()
    described = torch.where(counts >= MIN_CLASS_ROWS, counts, 0)
    # Where a row has several classes, around all of their means together.
    share = indicator * (described > 0) / (indicator * (described > 0)).sum(1, keepdim=True).clamp(min=1)
    found: dict[str, Tensor] = {"class_counts": described, "num_rows": torch.tensor([len(pooled)])}
    for layer in sorted(set(layers)):
        x = pooled[:, layer] @ project
        mean = x.mean(0)
        sums = indicator.T @ x
        class_means = torch.where(described[:, None] > 0, sums / counts.clamp(min=1)[:, None], 0.0)
        own = share.sum(1) > 0
        rest = (x - share @ class_means)[own] if own.any() else x - mean
        of_layer = {
            "mean": mean,
            "covariance": _shrunk_covariance(x - mean),
            "class_means": class_means,
            "within": _shrunk_covariance(rest),
        }
        rows = held[:, layer] @ project
        familiar = Familiarity.of(of_layer | {"class_counts": described})
        of_layer["densities"] = familiar.log_density(rows).sort().values
        found |= {f"{name}.{layer}": tensor for name, tensor in of_layer.items()}
    return found


def _shrunk_covariance(centred: Tensor) -> Tensor:
    if len(centred) < 2:
        return torch.zeros(PROJECTED, PROJECTED)
    return torch.from_numpy(ledoit_wolf(centred.numpy(), assume_centered=True)[0]).float()
