"""A reader and a linear head: token states to scores of classes."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from tsugiki.adapt.reader import Reader


class Classifier(nn.Module):
    """Scores from states.

    The weight is kept for standardised features, so that one learning rate suits every channel; `folded` gives it for
    features as they are.

    Args:
        states: numbers of the states that are read, ascending.
        reader: how tokens are pooled.
        reader_params: of the reader.
        weight: for features as they are, (C, F).
        bias: (C,).
        mean: of the features over the training rows, (F,); zeros where nothing is trained.
        scale: their spread, (F,); ones where nothing is trained.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        states: tuple[int, ...],
        reader: Reader,
        reader_params: Mapping[str, Tensor],
        weight: Tensor,
        bias: Tensor,
        mean: Tensor | None = None,
        scale: Tensor | None = None,
    ) -> None:
        super().__init__()
        mean = torch.zeros(weight.shape[1]) if mean is None else mean
        scale = torch.ones(weight.shape[1]) if scale is None else scale
        self.states = states
        self.reader = reader
        self.reader_params = nn.ParameterDict({k: nn.Parameter(v.clone()) for k, v in reader_params.items()})
        self.weight = nn.Parameter(weight * scale)
        self.bias = nn.Parameter(bias + weight @ mean)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def read(self, states: Tensor, mask: Tensor) -> Tensor:
        """Features: K states (K, B, S, d) and mask (B, S) to (B, F)."""
        return self.reader.read(dict(self.reader_params.items()), states, mask)

    def forward(self, features: Tensor) -> Tensor:
        """Logits: (B, F) to (B, C)."""
        return functional.linear((features - self.mean) / self.scale, self.weight, self.bias)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias for features as they are."""
        weight = self.weight.detach() / self.scale
        return weight, self.bias.detach() - weight @ self.mean
