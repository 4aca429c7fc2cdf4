"""The head before any training: a regularised logistic regression on pooled states.

The task's loss (cross-entropy) with an L2 penalty on standardised features, solved by L-BFGS for a falling series of
penalties, each started from the one before; the penalty is chosen on validation. An over-fitted head would leave the
modules behind it without a gradient, so the choice matters beyond the head's own score.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tsugiki.tasks.task import Task

# Largest first, in units of the mean loss; on five sets the best lay between the second and the last.
PENALTIES = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6)


@dataclass(frozen=True)
class LinearHead:
    """Scores from features: `f W^T + b`, standardisation folded in.

    Args:
        weight: W, (C, F).
        bias: b, (C,).
        penalty: of the fit.
    """

    weight: Tensor
    bias: Tensor
    penalty: float

    def scores(self, features: Tensor) -> Tensor:
        """Logits: (N, F) to (N, C)."""
        return functional.linear(features, self.weight, self.bias)


def fit_path(
    features: Tensor, targets: Tensor, task: Task, penalties: tuple[float, ...] = PENALTIES, max_iter: int = 30
) -> list[LinearHead]:
    """Fit a head for each penalty.

    Args:
        features: of the training rows, (N, F), float32.
        targets: of these rows.
        task: whose losses are minimised.
        penalties: in the order in which they are fitted, largest first.
        max_iter: steps of L-BFGS for each penalty.

    Returns:
        One head for each penalty.
    """
    mean = features.mean(0)
    scale = features.std(0, correction=0).clamp(min=1e-6)
    x = (features - mean) / scale
    # All features move together when their number grows; the penalty should mean the same for any number.
    x = x / x.shape[1] ** 0.5
    weight = torch.zeros(len(task.labels), x.shape[1], requires_grad=True)
    bias = task.prior(targets).requires_grad_()
    heads = []
    for penalty in penalties:
        _minimise(x, targets, task, weight, bias, penalty, max_iter)
        w = weight.detach() / (scale * x.shape[1] ** 0.5)
        heads.append(LinearHead(w, bias.detach() - w @ mean, penalty))
    return heads


def _minimise(
    x: Tensor, targets: Tensor, task: Task, weight: Tensor, bias: Tensor, penalty: float, max_iter: int
) -> None:
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=max_iter, history_size=10, tolerance_change=1e-6, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        with torch.no_grad():
            losses, slope = task.slope(functional.linear(x, weight, bias), targets)
            value = losses.mean() + 0.5 * penalty * weight.square().sum()
            slope /= len(x)
            weight.grad = slope.T @ x + penalty * weight
            bias.grad = slope.sum(0)
        return value

    optimiser.step(loss)
