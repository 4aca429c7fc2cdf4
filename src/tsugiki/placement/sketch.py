"""A module that adds nothing and remembers which way the loss would have it go."""

from typing import Literal

import torch
from pydantic import PositiveInt, PrivateAttr
from torch import Tensor

from tsugiki.adapt.form import Form


class Sketch(Form):
    """Reads a site in `rank` random directions D; the gradient of `up` is then D^T G, a sketch of the weight's own G.

    One object per site: it adds up the second moments by which a sketch is made comparable with those of other sites.

    Args:
        rank: k, number of directions.
    """

    kind: Literal["sketch"] = "sketch"
    rank: PositiveInt = 32
    _inner: Tensor | None = PrivateAttr(None)
    _outer: Tensor | None = PrivateAttr(None)
    _tokens: int = PrivateAttr(0)

    def shapes(self, in_width: int, out_width: int) -> dict[str, tuple[int, ...]]:
        """`down` (I, k) and `up` (k, O)."""
        return {"down": (in_width, self.rank), "up": (self.rank, out_width)}

    def init(self, in_width: int, out_width: int, generator: torch.Generator) -> dict[str, Tensor]:
        """`down` random, its columns of length one in the mean; `up` zero."""
        down = torch.randn(in_width, self.rank, generator=generator) / in_width**0.5
        return {"down": down, "up": torch.zeros(self.rank, out_width)}

    def delta(self, params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:  # noqa: ARG002
        """Zeros, (B, S, O)."""
        narrow = (x @ params["down"].to(x.dtype)).detach()
        delta = narrow @ params["up"].to(x.dtype)
        if delta.requires_grad:
            rows = narrow.flatten(0, 1).float()
            self._inner = rows.T @ rows + (0 if self._inner is None else self._inner)
            self._tokens += len(rows)
            delta.register_hook(self._look)
        return delta

    def _look(self, gradient: Tensor) -> None:
        outer = gradient.detach().float().square().flatten(0, 1).sum(0)
        self._outer = outer + (0 if self._outer is None else self._outer)

    def whitened(self, gradient: Tensor) -> Tensor:
        """A sketched gradient (k, O) in units of its own noise, as K-FAC has it (Martens & Grosse 2015, section 3).

        `A^-1/2 (D^T G) C^-1/2`, with A the second moment of the sketched input and C the diagonal of that of the
        output's gradient. The inner product of two such is the loss that a step in both their directions would save.
        """
        assert self._inner is not None and self._outer is not None and self._tokens
        values, vectors = torch.linalg.eigh(self._inner / self._tokens)
        # A direction in which hardly anything comes in tells nothing.
        inner = vectors @ torch.diag(values.clamp(min=1e-3 * float(values.max())).rsqrt()) @ vectors.T
        outer = self._outer / self._tokens
        found: Tensor = inner @ gradient.float() / outer.clamp(min=1e-3 * float(outer.mean())).sqrt()
        return found
