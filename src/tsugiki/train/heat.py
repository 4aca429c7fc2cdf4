"""Plans that are trained side by side for a part of their passes; the best goes on.

Successive halving (Jamieson & Talwalkar 2016) with one cut, after a third of the passes: what is left out costs no more
than that, and what goes on is trained as if it had been alone. A choice that stands beside its controls is measured
against them at the cut. `explanation/measurements` has the figures of other cuts.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from tsugiki.home import write_atomically
from tsugiki.manifest import Control
from tsugiki.placement.plan import Plan
from tsugiki.train.candidate import Candidate
from tsugiki.train.choice import paired, row_losses
from tsugiki.train.head import LinearHead
from tsugiki.train.track import Track

_CUT = "cut.json"
# Of the passes, after which all but one are left out: one in so many.
_PART = 3


@dataclass(frozen=True)
class Heat:
    """A race of plans of which all but one are left out on the way.

    Args:
        track: that they run on.
        plans: that run.
        start: the fitted head on the states of a plan.
        to_beat: score of what ran before.
    """

    track: Track
    plans: Sequence[Plan]
    start: Callable[[Plan], LinearHead | None]
    to_beat: float

    def run(self) -> tuple[list[Candidate], tuple[Control, ...]]:
        """All plans as far as they came, in their order, and how the first one did beside the controls."""
        best, controls = self._kept() or self._cut()
        passes = {plan.variant: self.track.passes if plan.variant == best else self._few for plan in self.plans}
        return [self._train(plan, passes[plan.variant]) for plan in self.plans], controls

    def _cut(self) -> tuple[str, tuple[Control, ...]]:
        """The variant with the least loss on validation by then, and the controls at that time."""
        held = self.track.held
        racing = {plan.variant: self._train(plan, self._few) for plan in self.plans}
        losses = {name: row_losses(held.task, candidate.logits, held.targets) for name, candidate in racing.items()}
        best, controls = min(losses, key=lambda variant: float(losses[variant].mean())), tuple(self._met(losses))
        facts = {"best": best, "controls": [control.model_dump(mode="json") for control in controls]}
        write_atomically(self.track.folder / _CUT, json.dumps(facts).encode())
        return best, controls

    def _met(self, losses: Mapping[str, Tensor]) -> Iterator[Control]:
        """The choice beside each control."""
        chosen = self.plans[0].variant
        for plan in self.plans:
            if plan.control:
                gain, error = paired(losses[chosen], losses[plan.variant])
                yield Control(
                    variant=plan.variant,
                    chosen=chosen,
                    passes=self._few,
                    gain=gain,
                    error=error,
                    num_rows=len(losses[chosen]),
                )

    @property
    def _few(self) -> int:
        """Passes that all of them take."""
        return max(1, self.track.passes // _PART)

    def _train(self, plan: Plan, passes: int) -> Candidate:
        return self.track.run(plan, self.start(plan), self.to_beat, passes)

    def _kept(self) -> tuple[str, tuple[Control, ...]] | None:
        """What was decided before the race was killed."""
        kept = self.track.folder / _CUT
        if not kept.exists():
            return None
        facts = json.loads(kept.read_text(encoding="utf-8"))
        return facts["best"], tuple(Control(**control) for control in facts["controls"])
