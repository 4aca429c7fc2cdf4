"""One answer: whose it is, and which modules act on it how strongly."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tsugiki.adapt.package import Package
from tsugiki.auditing.game import Game
from tsugiki.auditing.seats import Seat, seats_of, seats_under
from tsugiki.auditing.shapley import Coalition
from tsugiki.base.model import Base
from tsugiki.composed.adapters import Composed
from tsugiki.tasks.adapter import Adapter
from tsugiki.tasks.answering import Answering


@dataclass(frozen=True)
class Case:
    """What answers a text.

    Args:
        text: that is answered.
        name: of the adapter.
        package: of it.
        packages: whose modules act, its own first.
        base: the base; None where the words alone decide.
        seats: players.
    """

    text: str
    name: str
    package: Package
    packages: tuple[Package, ...]
    base: Base | None
    seats: tuple[Seat, ...]

    @property
    def answering(self) -> Answering:
        """Head and words."""
        return Answering(self.package, self.base.device if self.base is not None else None)

    @property
    def is_of_words(self) -> bool:
        """Whether the words answer alone, since they are sure, and no layer is run for that."""
        answering = Answering(self.package, None)
        sure = answering.sure(answering.words([self.text]))
        return sure is not None and bool(sure.all())

    def worth(self, coalitions: Sequence[Coalition], wanted: Tensor | None = None) -> NDArray[np.float64]:
        """Log-likelihood of the answer that was given, or of the wanted one, under each coalition of players."""
        if self.base is None or not self.seats:
            return np.zeros(len(coalitions))
        return Game(self.base, self.answering, self.seats, self.text, wanted).worth(coalitions)

    def logits(self) -> Tensor:
        """Calibrated logits with all modules and without any, (2, C)."""
        if self.base is None:
            return self.answering.joined(None, [self.text] * 2)
        everybody = tuple(range(len(self.seats)))
        return Game(self.base, self.answering, self.seats, self.text).logits([everybody, ()])


def case_of(asked: Adapter | Composed, text: str) -> Case | None:
    """The case of a text; None where no adapter of a set knows it."""
    if isinstance(asked, Adapter):
        return _of_adapter(asked, text)
    (route,), names = asked.routes(text), asked.names
    if not route:
        return None
    acting = {names.index(name): weight for name, weight in route.items()}
    member = max(acting, key=lambda number: (acting[number], -number))
    packages = asked.set.packages
    others = tuple(packages[number] for number in acting if number != member)
    seats = tuple(seats_of(acting, packages, names))
    base = asked.base if packages[member].manifest.placement.exit else None
    case = Case(text, names[member], packages[member], (packages[member], *others), base, seats)
    # The base ran to find the adapter, but none of its modules had a say.
    return replace(case, packages=case.packages[:1], seats=()) if case.is_of_words else case


def _of_adapter(adapter: Adapter, text: str) -> Case:
    name, package = adapter.manifest.name, adapter.package
    alone = Case(text, name, package, (package,), None, ())
    if alone.is_of_words:
        return alone
    gating = adapter.gating(text)
    seats = seats_of({0: 1.0}, [package], [name]) if gating is None else seats_under(package, name, gating)
    return Case(text, name, package, (package,), adapter.base, tuple(seats))
