"""What made an answer: exact Shapley values over the layers of the adapters that acted, and what the input is like.

Only the layers above the lowest module are run, all coalitions as rows of the same batches, so ten players cost about a
thousand rows of one text.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from tsugiki.adapt.familiarity import Familiarity
from tsugiki.adapt.package import Package
from tsugiki.adapt.reader import mean_pool
from tsugiki.adapt.recogniser import statistics_at
from tsugiki.adapt.statistics import projection
from tsugiki.adapt.tensors import part
from tsugiki.audit.game import Game, Seat, seats_of
from tsugiki.audit.shapley import Attribution, attribute
from tsugiki.base.digest import weights_digest
from tsugiki.base.model import Base
from tsugiki.base.suffix import run_states
from tsugiki.base.tokens import encode, pad
from tsugiki.composed.adapters import Composed
from tsugiki.explanation import Explanation, Interaction, Nearest, Player
from tsugiki.tasks.adapter import Adapter
from tsugiki.tasks.answering import Answering

_NEAREST = 3


def explain(asked: Adapter | Composed, text: str) -> Explanation:
    """Explain the answer to a text.

    Args:
        asked: an adapter, or a set of them.
        text: that is answered; a pair of texts as `tsugiki.data.texts.pair` joins them.
    """
    if isinstance(asked, Composed):
        return _of_set(asked, text)
    case = _Case(asked.base, (asked.package,), (asked.manifest.name,), {0: 1.0}, 0, text)
    return case.explained(_classes(asked.package, asked.base, text) if asked.base is not None else ())


def _of_set(composed: Composed, text: str) -> Explanation:
    familiar = sorted(composed.familiarity(text).items(), key=lambda pair: -pair[1])
    nearest = tuple(Nearest(name=name, above=round(above, 3)) for name, above in familiar)
    (route,), names = composed.routes(text), composed.names
    if not route:
        return Explanation(nearest=nearest)
    acting = {names.index(name): weight for name, weight in route.items()}
    member = max(acting, key=lambda number: (acting[number], -number))
    return _Case(composed.base, composed.set.packages, names, acting, member, text).explained(nearest)


@dataclass(frozen=True)
class _Case:
    """One answer.

    Args:
        base: the base; None where the words alone decide.
        packages: that may act.
        names: that these are called by.
        acting: weight of each that does, by number.
        member: number of the one whose head answers.
        text: that is answered.
    """

    base: Base | None
    packages: Sequence[Package]
    names: Sequence[str]
    acting: Mapping[int, float]
    member: int
    text: str

    def explained(self, nearest: tuple[Nearest, ...]) -> Explanation:
        """Everything about it."""
        manifest = self.packages[self.member].manifest
        if self.base is None or not manifest.placement.exit:
            answering = Answering(self.packages[self.member], None)
            seats, found = [], attribute(0, lambda coalitions: np.zeros(len(coalitions)))
            logits = answering.joined(None, [self.text] * 2)
        else:
            answering = Answering(self.packages[self.member], self.base.device)
            seats = seats_of(self.acting, self.packages)
            game = Game(self.base, answering, seats, self.text)
            found = attribute(len(seats), game.worth)
            logits = game.logits([tuple(range(len(seats))), ()])
        whole, without = answering.predictions(logits)
        return Explanation(
            adapter=self.names[self.member],
            variant=manifest.variant,
            label=whole.label,
            probability=whole.probability,
            label_without=without.label,
            probability_without=_probability(answering, logits, whole.probability),
            players=self._players(seats, found),
            interactions=_interactions(found),
            nearest=nearest,
            words_share=manifest.head.words_share,
        )

    def _players(self, seats: Sequence[Seat], found: Attribution) -> tuple[Player, ...]:
        return tuple(
            Player(
                adapter=self.names[seat.number],
                layer=seat.layer,
                weight=seat.weight,
                num_modules=seat.num_modules,
                value=value,
                margin=margin,
            )
            for seat, value, margin in zip(seats, found.values.tolist(), found.margins.tolist(), strict=True)
        )


def _interactions(found: Attribution) -> tuple[Interaction, ...]:
    if found.interactions is None:
        return ()
    pairs = combinations(range(len(found.values)), 2)
    return tuple(Interaction(first=a, second=b, value=float(found.interactions[a, b])) for a, b in pairs)


def _probability(answering: Answering, logits: Tensor, given: float) -> float:
    """Probability of the answer that was given, without any module: its likelihood there, set against that with all."""
    best = answering.task.answers(logits[:1]).best
    losses = answering.task.losses(logits, best.expand(2, *best.shape[1:]))
    return min(1.0, given * math.exp(float(losses[0] - losses[1])))


@torch.inference_mode()
def _classes(package: Package, base: Base, text: str) -> tuple[Nearest, ...]:
    """The classes that an input is most like, by what the package keeps of its rows."""
    tensors = part(package.tensors, "statistics")
    described = sorted(int(name.partition(".")[2]) for name in tensors if name.startswith("densities."))
    if not described or not bool((tensors["class_counts"] > 0).any()):
        return ()
    facts = package.manifest.base
    state = min(described, key=lambda s: abs(s - facts.num_layers / 2))
    ids, mask = (t.to(base.device) for t in pad(encode(base, [text], int(package.manifest.task["max_length"]))))
    states = run_states(base.model, base.anatomy, ids, None, (state,))
    projected = mean_pool(states[state], mask).cpu() @ projection(weights_digest(facts.layer_digests), facts.width)
    statistics = statistics_at(tensors, state)
    familiar = Familiarity.of(statistics)
    distances = torch.cdist(projected.double() @ familiar.whitening, familiar.means).square().squeeze(0)
    counted = zip(package.manifest.task["labels"], statistics["class_counts"], strict=True)
    labels = [label for label, count in counted if count]
    order = distances.argsort()[:_NEAREST]
    farthest = distances[order[-1]]
    return tuple(Nearest(name=labels[at], above=round(float(farthest - distances[at]) / 2, 3)) for at in order.tolist())
