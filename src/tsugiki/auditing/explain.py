"""What made an answer: exact Shapley values over the layers of the adapters that acted, and what the input is like.

Only the layers above the lowest module are run, all coalitions as rows of the same batches, so ten players cost about a
thousand rows of one text.
"""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from tsugiki.adapt.familiarity import Familiarity
from tsugiki.adapt.package import Package
from tsugiki.adapt.reader import mean_pool
from tsugiki.adapt.recogniser import statistics_at
from tsugiki.adapt.statistics import projection
from tsugiki.adapt.tensors import part
from tsugiki.auditing.case import Case, case_of
from tsugiki.auditing.seats import Seat
from tsugiki.auditing.shapley import Attribution, attribute
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
    case, nearest = case_of(asked, text), _nearest(asked, text)
    if case is None:
        return Explanation(nearest=nearest)
    found = attribute(len(case.seats), case.worth)
    logits, answering = case.logits(), case.answering
    whole, without = answering.predictions(logits)
    return Explanation(
        adapter=case.name,
        variant=case.package.manifest.variant,
        label=whole.label,
        probability=whole.probability,
        label_without=without.label,
        probability_without=_probability(answering, logits, whole.probability),
        players=_players(case.seats, found),
        interactions=_interactions(found),
        nearest=nearest,
        words_share=1.0 if case.is_of_words else case.package.manifest.head.words_share,
        tokens=_tokens(case),
    )


def _nearest(asked: Adapter | Composed, text: str) -> tuple[Nearest, ...]:
    if isinstance(asked, Adapter):
        return _classes(asked.package, asked.base, text) if asked.base is not None else ()
    familiar = sorted(asked.familiarity(text).items(), key=lambda pair: -pair[1])
    return tuple(Nearest(name=name, above=round(above, 3)) for name, above in familiar)


def _players(seats: Sequence[Seat], found: Attribution) -> tuple[Player, ...]:
    return tuple(
        Player(
            adapter=seat.name,
            layer=seat.layer,
            weight=seat.weight,
            num_modules=len(seat.grafts),
            value=value,
            margin=margin,
            by_token=_by_token(seat),
        )
        for seat, value, margin in zip(seats, found.values.tolist(), found.margins.tolist(), strict=True)
    )


def _by_token(seat: Seat) -> tuple[float, ...]:
    """Weight on each token in the mean over sites; empty where it is the same on all."""
    if not seat.by_token:
        return ()
    return tuple(round(weight, 4) for weight in torch.stack(list(seat.by_token.values())).mean(0).tolist())


def _tokens(case: Case) -> tuple[str, ...]:
    if case.base is None or not any(seat.by_token for seat in case.seats):
        return ()
    (ids,) = encode(case.base, [case.text], case.answering.max_length)
    tokenizer: Any = case.base.tokenizer
    return tuple(map(str, tokenizer.convert_ids_to_tokens(ids)))


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
    # Layers above the exit are not loaded.
    described = [state for state in described if state <= base.anatomy.num_layers]
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
