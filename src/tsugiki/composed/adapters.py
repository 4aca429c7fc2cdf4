"""A set of adapters that answers: each input by the adapter that knows it, or by none."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tsugiki.adapt.adapted import AdaptedModel
from tsugiki.adapt.correction import Correction
from tsugiki.adapt.package_checks import check_base
from tsugiki.adapt.recogniser import Recogniser, floor_of, statistics_at
from tsugiki.adapt.router import ROUTERS
from tsugiki.adapt.statistics import projection
from tsugiki.adapt.tensors import part
from tsugiki.base.digest import weights_digest
from tsugiki.base.model import Base, load_base
from tsugiki.base.precision import Precision
from tsugiki.composed.folder import Set, load_set, member_of
from tsugiki.composed.shared import Shared
from tsugiki.data.reading import Reading
from tsugiki.data.texts import pair
from tsugiki.tasks.answering import Answering, Prediction
from tsugiki.tasks.task import Task

Texts = str | Iterable[str | tuple[str, str]]
"""One text, or a list, an array or a column of them, or of pairs of texts."""

_NOBODY = ("", 0.0, "", 0.0, True)


@dataclass(frozen=True)
class Routed(Prediction):
    """An answer, and whose it is.

    Args:
        adapter: that gave it; None where no adapter knows the input, and the label is empty.
    """

    adapter: str | None = None


class Composed:
    """Adapters on one base with a router.

    Args:
        found: the set.
        base: loaded up to the highest exit and the state by which inputs are recognised.

    Raises:
        PackageError: the set belongs to another base.
    """

    def __init__(self, found: Set, base: Base) -> None:
        self.set = found
        self.base = base
        for package in found.packages:
            check_base(package, base)
        composition = found.composition
        self.router = ROUTERS.parse(composition.router)
        self._adapted = AdaptedModel(base.model, base.anatomy)
        for number, package in enumerate(found.packages):
            self._adapted.attach(str(number), package.grafts, package.part("modules"))
        devices = [base.device if package.manifest.placement.exit else None for package in found.packages]
        self._members = [Answering(*pair) for pair in zip(found.packages, devices, strict=True)]
        self._shared = Shared(base, self._adapted, found.packages, self._members, composition.state)
        self.recogniser = _recogniser(found)

    @classmethod
    def load(cls, folder: str | Path, base: Base | str | None = None, precision: Precision = "auto") -> "Composed":
        """Load a set and the layers of the base that it needs.

        Raises:
            MissingError: set or base is not there.
            PackageError: the set is damaged or belongs to another base.
        """
        return cls.on_base(load_set(Path(folder)), base, precision)

    @classmethod
    def on_base(cls, found: Set, base: Base | str | None = None, precision: Precision = "auto") -> "Composed":
        """Load the layers of the base that a set needs.

        Raises:
            MissingError: the base is not there.
            PackageError: the set belongs to another base.
        """
        if not isinstance(base, Base):
            exits = (package.manifest.placement.exit for package in found.packages)
            exit = max(found.composition.state, *exits)
            base = load_base(base or found.packages[0].manifest.base.name, precision=precision, exit=exit)
        return cls(found, base)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the adapters."""
        return self.set.names

    def predict(self, texts: Texts, target_precision: float | None = None) -> list[Routed]:
        """Answer each text by the adapter that knows it best, or by none.

        Args:
            texts: what is asked.
            target_precision: that answers shall have which need no review (0..1); None takes that of each adapter.
        """
        asked = _texts(texts)
        routes: list[Mapping[int, float]] = [{} for _ in asked]

        def choose(rows: Sequence[int], pooled: Tensor) -> list[dict[int, Mapping[int, float]]]:
            for row, route in zip(rows, self._routes(pooled), strict=True):
                routes[row] = route
            return [{_heaviest(routes[row]): routes[row]} if routes[row] else {} for row in rows]

        logits = self._shared.run(asked, choose)
        found = [Routed(*_NOBODY) for _ in asked]
        for member, rows in _by_member(routes).items():
            answers = self._answers(
                member, [asked[row] for row in rows], [logits[row] for row in rows], target_precision
            )
            for row, answer in zip(rows, answers, strict=True):
                found[row] = Routed(**vars(answer), adapter=self.names[member])
        return found

    def run_many(
        self, texts: Texts, names: Sequence[str], target_precision: float | None = None
    ) -> dict[str, list[Prediction]]:
        """Answers of several adapters to each text, over one pass of the base.

        Args:
            texts: what is asked.
            names: of the adapters that are to answer.
            target_precision: that answers shall have which need no review (0..1); None takes that of each adapter.

        Raises:
            MissingError: the set has no such adapter.
        """
        asked, members = _texts(texts), [member_of(self.set, name) for name in names]
        logits = self._shared.run(asked, lambda rows, _: [{member: {member: 1.0} for member in members}] * len(rows))
        return {self.names[member]: self._answers(member, asked, logits, target_precision) for member in members}

    def routes(self, texts: Texts) -> list[dict[str, float]]:
        """Weight of each adapter that would act on each text; none for a text that no adapter knows."""
        asked = _texts(texts)
        found: list[dict[str, float]] = [{} for _ in asked]

        def look(rows: Sequence[int], pooled: Tensor) -> list[dict[int, Mapping[int, float]]]:
            for row, route in zip(rows, self._routes(pooled), strict=True):
                found[row] = {self.names[member]: weight for member, weight in route.items()}
            return [{} for _ in rows]

        self._shared.run(asked, look)
        return found

    def chosen(self, texts: Texts) -> list[str | None]:
        """Who would answer each text; None where no adapter knows it."""
        return [max(route, key=lambda name: route[name]) if route else None for route in self.routes(texts)]

    def task_of(self, member: int) -> Task:
        """What an adapter answers, by its number."""
        return self._members[member].task

    def projected(self, texts: Texts) -> Tensor:
        """States by which texts are recognised, as statistics see them (N, 128)."""
        asked = _texts(texts)
        found = torch.empty(len(asked), self.recogniser.project.shape[1])

        def look(rows: Sequence[int], pooled: Tensor) -> list[dict[int, Mapping[int, float]]]:
            found[list(rows)] = self.recogniser.projected(pooled)
            return [{} for _ in rows]

        self._shared.run(asked, look)
        return found

    def familiarity(self, text: str) -> dict[str, float]:
        """How much more familiar a text is to each adapter than the least familiar that it still knows, in nats."""
        floors = [floor.density for floor in self.recogniser.floors]
        densities = self.recogniser.densities_of(self.projected(text))[0].tolist()
        above = (density - floor for density, floor in zip(densities, floors, strict=True))
        return dict(zip(self.names, above, strict=True))

    @property
    def reading(self) -> Reading:
        """How rows are read; each adapter was trained on rows of its own."""
        return Reading()

    def close(self) -> None:
        """Take the modules off the base."""
        self._adapted.detach()

    def _routes(self, pooled: Tensor) -> list[dict[int, float]]:
        routing = self.router.route(self.recogniser.scores(pooled))
        found: list[dict[int, float]] = [{} for _ in range(routing.num_rows)]
        pairs = (tensor.tolist() for tensor in (routing.rows, routing.modules, routing.weights))
        for row, member, weight in zip(*pairs, strict=True):
            found[row][member] = weight
        return found

    def _answers(
        self, member: int, texts: Sequence[str], logits: Sequence[Mapping[int, Tensor]], target_precision: float | None
    ) -> list[Prediction]:
        if not texts:
            return []
        answering = self._members[member]
        of_states = torch.stack([own[member] for own in logits]) if answering.classifier is not None else None
        return answering.predictions(answering.joined(of_states, texts), target_precision)


def _recogniser(found: Set) -> Recogniser:
    composition, base = found.composition, found.packages[0].manifest.base
    known = [statistics_at(part(package.tensors, "statistics"), composition.state) for package in found.packages]
    rule = (composition.share, composition.confidence)
    pairs = zip(composition.members, known, strict=True)
    return Recogniser(
        known,
        projection(weights_digest(base.layer_digests), base.width),
        [member.floor or floor_of(own["densities"], *rule) for member, own in pairs],
        (found.correction or Correction.none(0)).over(len(known)),
    )


def _texts(texts: Texts) -> list[str]:
    return [texts] if isinstance(texts, str) else [t if isinstance(t, str) else pair(*t) for t in texts]


def _heaviest(route: Mapping[int, float]) -> int:
    """Whose head answers where the modules of several act."""
    return max(route, key=lambda member: (route[member], -member))


def _by_member(routes: Sequence[Mapping[int, float]]) -> dict[int, list[int]]:
    """Rows by the member that answers them."""
    found: dict[int, list[int]] = {}
    for row, route in enumerate(routes):
        if route:
            found.setdefault(_heaviest(route), []).append(row)
    return found
