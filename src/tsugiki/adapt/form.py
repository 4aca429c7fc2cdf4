"""The contract of a form: the mathematical shape of one module."""

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic import ConfigDict
from torch import Tensor

from tsugiki.family import Family
from tsugiki.spec import Spec

Product = Callable[[Tensor, Tensor], Tensor]
"""Of tokens (..., I) and a matrix (I, O)."""


class Form(Spec):
    """What a module computes, as frozen data and pure functions of its parameters.

    Every form is written as a change that is zero when fresh, so weight decay on its parameters is decay on the change.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    kind: str
    # Whether a trained module can be written as a change of the site's weight matrix.
    is_linear: ClassVar[bool] = False
    # Parameters of shape (1, n), one number for each channel.
    vectors: ClassVar[tuple[str, ...]] = ()

    def shapes(self, in_width: int, out_width: int) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter of one module at a site with I inputs and O outputs."""
        raise NotImplementedError(type(self).__name__)

    def init(self, in_width: int, out_width: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Parameters of a fresh module, float32; its delta is exactly zero."""
        raise NotImplementedError(type(self).__name__)

    def delta(self, params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        """What the module adds to its site.

        Args:
            params: of one module (shapes as given), or of one module per sequence (B in front of each shape).
            x: what the site reads, (B, S, I).
            y: what the site returns, (B, S, O).

        Returns:
            The change of `y`, (B, S, O).
        """
        raise NotImplementedError(type(self).__name__)

    @property
    def channels(self) -> int:
        """R where it is two products with r channels between them, 0 where not.

        Such a form is narrow: it has `inner`, `outer` and `joined`.
        """
        return 0

    def inner(self, params: dict[str, Tensor], x: Tensor, y: Tensor, times: Product = torch.matmul) -> Tensor:
        """The r channels between the two products of a narrow form, (..., r).

        Args:
            params: as for `delta`.
            x: as for `delta`, or of any shape that `times` can multiply.
            y: likewise.
            times: multiplies tokens by the matrices in `params`.
        """
        raise NotImplementedError(type(self).__name__)

    def outer(self, params: dict[str, Tensor], inner: Tensor, times: Product = torch.matmul) -> Tensor:
        """The change that follows from those channels, (..., O); it is linear in them."""
        raise NotImplementedError(type(self).__name__)

    def joined(self, params: dict[str, Tensor]) -> dict[str, Tensor]:
        """E modules of a narrow form, (E, ...), as one of E r channels, those of one module together."""
        raise NotImplementedError(type(self).__name__)

    def added(self, params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        """`y` with the change; where no gradient is kept that is `y` itself, which spares a copy of it."""
        delta = self.delta(params, x, y)
        return y + delta if torch.is_grad_enabled() else y.add_(delta)

    def num_params(self, in_width: int, out_width: int) -> int:
        """Number of parameters of one module."""
        return sum(math.prod(shape) for shape in self.shapes(in_width, out_width).values())


FORMS: Family[Form] = Family("tsugiki.adapt.forms", Form)


def uniform(shape: tuple[int, ...], fan_in: int, generator: torch.Generator) -> Tensor:
    """Values even in +-1/sqrt(fan_in), as torch initialises a linear layer."""
    bound = 1.0 / math.sqrt(fan_in)
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)
