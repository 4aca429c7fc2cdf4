"""The contract of a router: from how strongly modules are wanted to which of them act, and how strongly."""

import torch
from torch import Tensor

from tsugiki.adapt.routing import Routing
from tsugiki.errors import RoutingError
from tsugiki.family import Family
from tsugiki.spec import Spec


class Router(Spec):
    """A rule, as frozen data and a pure function; what is learnt stands in the scores that it is given."""

    kind: str

    def weights(self, scores: Tensor) -> Tensor:
        """Weight of each module on each row; zero where it does not act.

        Args:
            scores: how much better than nothing a module is for a row, in nats, (R, E); at zero or below, nothing is
                better, and minus infinity means that it may not act at all.

        Returns:
            (R, E), differentiable through the scores. A row of zeros is the null route.
        """
        raise NotImplementedError(type(self).__name__)

    def route(self, scores: Tensor) -> Routing:
        """The routing that follows from scores (R, E).

        Raises:
            RoutingError: a score is not a number, or the rule asks for more modules than there are.
        """
        return Routing.weighing(self.decided(scores))

    def decided(self, scores: Tensor) -> Tensor:
        """The same as weights (R, E).

        Raises:
            RoutingError: as for `route`.
        """
        if bool(scores.isnan().any()):
            row, module = (int(at) for at in scores.isnan().nonzero()[0])
            raise RoutingError("routing.score", row=row, module=module)
        return self.weights(scores)


ROUTERS: Family[Router] = Family("tsugiki.adapt.routers", Router)


def shares(scores: Tensor) -> Tensor:
    """Softmax over the modules of a row that are better than nothing, zero for the others, (R, E)."""
    wanted = scores > 0
    kept = torch.where(wanted, scores, -torch.inf)
    some = wanted.any(1, keepdim=True)
    return torch.where(wanted, torch.where(some, kept, 0.0).softmax(1), 0.0)
