"""The modules of an answer as players: any of them taken off, over one clean pass up to the lowest of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsugiki.adapt.adapted import AdaptedModel
from tsugiki.auditing.coalitions import Coalitions, presence
from tsugiki.auditing.seats import Seat
from tsugiki.auditing.shapley import Coalition
from tsugiki.base.model import Base
from tsugiki.base.suffix import run_states
from tsugiki.base.tokens import encode, pad
from tsugiki.tasks.answering import Answering


@dataclass
class Game:
    """One text under coalitions of the modules that acted on it.

    Args:
        base: the base.
        answering: head and words that answer.
        seats: the players.
        text: that was answered.
        wanted: the right answer as a target of the task, (1, ...); None takes the one that was given.
    """

    base: Base
    answering: Answering
    seats: Sequence[Seat]
    text: str
    wanted: Tensor | None = None
    _target: Tensor = field(init=False)

    def __post_init__(self) -> None:
        if self.wanted is not None:
            self._target = self.wanted
            return
        self._target = self.answering.task.answers(self.logits([tuple(range(len(self.seats)))])).best

    def worth(self, coalitions: Sequence[Coalition]) -> NDArray[np.float64]:
        """Log-likelihood of the answer that was given, or that is wanted, under each coalition."""
        logits = self.logits(coalitions)
        losses = self.answering.task.losses(logits, self._target.expand(len(logits), *self._target.shape[1:]))
        return -losses.double().numpy()

    @torch.inference_mode()
    def logits(self, coalitions: Sequence[Coalition]) -> Tensor:
        """Calibrated logits under each coalition, (N, C)."""
        ids, mask = (t.to(self.base.device) for t in pad(encode(self.base, [self.text], self.answering.max_length)))
        boundary = min((seat.layer for seat in self.seats), default=self.base.anatomy.num_layers)
        read = self.answering.package.manifest.head.states
        below, above = {s for s in read if s <= boundary}, {s for s in read if s > boundary}
        model, anatomy = self.base.model, self.base.anatomy
        clean = run_states(model, anatomy, ids, None, below | ({boundary} if above else set()))
        adapted = self._seated()
        try:
            found = []
            for part in _parts(coalitions, max(1, self.base.batch_tokens // ids.shape[1])):
                states = {s: clean[s].expand(len(part), -1, -1) for s in below}
                if above:
                    entering = clean[boundary].expand(len(part), -1, -1).contiguous()
                    with adapted.using(Coalitions(self.seats, presence(part, len(self.seats), ids.device))):
                        states |= run_states(
                            model,
                            anatomy,
                            ids.expand(len(part), -1),
                            None,
                            above,
                            boundary=boundary,
                            state=entering if boundary else None,
                        )
                stacked = torch.stack([states[s] for s in read])
                of_states = self.answering.of_states(stacked, mask.expand(len(part), -1)).float().cpu()
                found.append(self.answering.joined(of_states, [self.text] * len(part)))
        finally:
            adapted.detach()
        return torch.cat(found)

    def _seated(self) -> AdaptedModel:
        """The base with each player's modules under its number."""
        adapted = AdaptedModel(self.base.model, self.base.anatomy)
        for number, seat in enumerate(self.seats):
            adapted.attach(str(number), seat.grafts, seat.params)
        return adapted


def _parts(coalitions: Sequence[Coalition], most: int) -> list[Sequence[Coalition]]:
    return [coalitions[at : at + most] for at in range(0, len(coalitions), most)]
