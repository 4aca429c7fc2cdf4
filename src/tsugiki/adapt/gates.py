"""Gates: how much each group of modules is wanted, for a whole input or for each of its tokens.

A group is what acts together: the modules of one domain, or modules that no domain owns and that find their inputs by
themselves. One gate reads the mean of an input's tokens at the boundary and decides for the whole of it; of domains it
always does. Groups without a domain may have a gate at each site instead, which decides for each token that it reads.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from tsugiki.manifest import RouteBy

POOLED = "pooled"
"""Key of the gate that decides for whole inputs."""

# Of a probability that is as good as none; one less it is as good as certain.
_TINY = 1e-7
CERTAIN = -math.log(_TINY)
"""Score of a domain that is as good as certain."""

# Where gates of modules that no domain owns begin: open on everything, and not all alike.
_OPEN, _SPREAD = 0.5, 0.02


class Gates(nn.Module):
    """Linear gates: that for whole inputs is called `pooled`, those for tokens after their site, `LAYER.SITE`.

    Args:
        num_named: D, groups of domains; they stand before the others.
        params: `KEY.weight` (G, I) and `KEY.bias` (G,) of each gate for the G groups that it decides on.
    """

    def __init__(self, num_named: int, params: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.num_named = num_named
        self.keys = {name.rpartition(".")[0] for name in params}
        self._params = nn.ParameterDict({_plain(name): nn.Parameter(tensor) for name, tensor in params.items()})

    @classmethod
    def fresh(cls, num_named: int, shapes: Mapping[str, tuple[int, ...]], seed: int) -> "Gates":
        """Gates that know no domain yet and let all other groups act.

        Args:
            num_named: D.
            shapes: of all parameters, by name.
            seed: of what is random.
        """
        generator = torch.Generator().manual_seed(seed)
        params: dict[str, Tensor] = {}
        for name, shape in shapes.items():
            if name.endswith(".weight"):
                params[name] = torch.randn(shape, generator=generator) * (_SPREAD / math.sqrt(shape[1]))
            else:
                params[name] = torch.full(shape, _OPEN)
            if name.startswith(POOLED):
                params[name][:num_named] = 0.0
        return cls(num_named, params)

    @torch.no_grad()
    def tell(self, named: Mapping[str, Tensor]) -> None:
        """Put a gate that knows domains in place: `weight` (D, d) and `bias` (D,)."""
        for name, tensor in named.items():
            self._params[_plain(f"{POOLED}.{name}")][: self.num_named] = tensor

    @torch.no_grad()
    def move(self, shift: float) -> None:
        """Add to the scores of all groups without a domain."""
        for key in self.keys:
            self._params[_plain(f"{key}.bias")][self.num_named if key == POOLED else 0 :] += shift

    def tensors(self) -> dict[str, Tensor]:
        """Parameters by `KEY.weight` and `KEY.bias`."""
        return {name.replace("/", "."): tensor for name, tensor in self._params.items()}

    def scores(self, key: str, read: Tensor) -> Tensor:
        """How much better than nothing each group is that a gate decides on, as a router wants it.

        Of a domain the logarithm of the odds that an input is from it and from no other: above zero it is more likely
        than not, so one domain acts at most. Of other groups what the gate says.

        Args:
            key: of the gate.
            read: what it reads, (R, I), brought to one scale first, so that a gate means the same on any base.

        Returns:
            (R, G).
        """
        level = functional.layer_norm(read.float(), read.shape[-1:])
        weight, bias = self._params[_plain(f"{key}.weight")], self._params[_plain(f"{key}.bias")]
        told = functional.linear(level, weight, bias)
        if key != POOLED or not self.num_named:
            return told
        named, others = told[:, : self.num_named], told[:, self.num_named :]
        return torch.cat([torch.logit(named.softmax(1), eps=_TINY), others], 1)


def gate_shapes(
    route_by: RouteBy, num_named: int, num_groups: int, width: int, sites: Mapping[str, int]
) -> dict[str, tuple[int, ...]]:
    """Shape of each parameter of gates.

    Args:
        route_by: whether groups without a domain are decided on for whole inputs or for tokens.
        num_named: D.
        num_groups: E.
        width: d of the base.
        sites: where the modules of groups stand, `LAYER.SITE`, with their I.
    """
    by_token = route_by == "token"
    pooled, tokens = (num_named, num_groups - num_named) if by_token else (num_groups, 0)
    gates = {POOLED: (pooled, width), **{key: (tokens, own) for key, own in sites.items()}}
    there = {key: shape for key, shape in gates.items() if shape[0]}
    weights = {f"{key}.weight": shape for key, shape in there.items()}
    return weights | {f"{key}.bias": shape[:1] for key, shape in there.items()}


def _plain(name: str) -> str:
    # Torch keeps dots for itself, and no site has a slash.
    return name.replace(".", "/")
