"""Plans that are trained side by side: after each part of the passes the better half goes on.

Successive halving (Jamieson & Talwalkar 2016) over passes: what is left out early costs a part of a run, and the last
one is trained as if it had been alone. A choice that stands beside its controls is measured against them on the way.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tsugiki.home import write_atomically
from tsugiki.manifest import Control
from tsugiki.placement.plan import Plan
from tsugiki.train.candidate import Candidate
from tsugiki.train.choice import paired, row_losses
from tsugiki.train.head import LinearHead
from tsugiki.train.track import Track

_STANDING = "standing.json"


@dataclass(frozen=True)
class Standing:
    """Where such a race stands.

    Args:
        round: that comes next.
        racing: variants that are still in it, best first.
        controls: how the choice did beside each control when they last stood side by side.
    """

    round: int
    racing: tuple[str, ...]
    controls: tuple[Control, ...] = ()

    def facts(self) -> dict[str, Any]:
        """As plain data."""
        controls = [control.model_dump(mode="json") for control in self.controls]
        return {"round": self.round, "racing": self.racing, "controls": controls}


@dataclass(frozen=True)
class Halving:
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
        standing, parts = self._standing(), self._parts()
        found: dict[str, Candidate] = {}
        while standing.round < len(parts):
            passes = parts[standing.round]
            racing = {plan.variant: self._train(plan, passes) for plan in self.plans if plan.variant in standing.racing}
            standing = self._halved(standing, racing, passes)
            found |= racing
            write_atomically(self.track.folder / _STANDING, json.dumps(standing.facts()).encode())
        # What was left out before a kill is kept on the track.
        return [found.get(plan.variant) or self._train(plan, 0) for plan in self.plans], standing.controls

    def _parts(self) -> list[int]:
        """Passes after which the field is halved, and those of a whole run."""
        rounds = math.ceil(math.log2(len(self.plans))) + 1
        parts = (max(1, self.track.passes * number // rounds) for number in range(1, rounds + 1))
        return list(dict.fromkeys(parts))

    def _halved(self, standing: Standing, racing: Mapping[str, Candidate], passes: int) -> Standing:
        held = self.track.held
        losses = {name: row_losses(held.task, candidate.logits, held.targets) for name, candidate in racing.items()}
        ranked = sorted(losses, key=lambda variant: float(losses[variant].mean()))
        met = {control.variant: control for control in standing.controls}
        met |= {control.variant: control for control in self._met(losses, passes)}
        most = -(-len(ranked) // 2) if passes < self.track.passes else len(ranked)
        return Standing(standing.round + 1, tuple(ranked[:most]), tuple(met.values()))

    def _met(self, losses: Mapping[str, Tensor], passes: int) -> Iterator[Control]:
        """The choice, where it is still in the race, beside each control that is."""
        chosen = self.plans[0].variant
        for plan in self.plans if chosen in losses else ():
            if plan.control and plan.variant in losses:
                gain, error = paired(losses[chosen], losses[plan.variant])
                yield Control(
                    variant=plan.variant,
                    chosen=chosen,
                    passes=passes,
                    gain=gain,
                    error=error,
                    num_rows=len(losses[chosen]),
                )

    def _train(self, plan: Plan, passes: int) -> Candidate:
        return self.track.run(plan, self.start(plan), self.to_beat, passes)

    def _standing(self) -> Standing:
        kept = self.track.folder / _STANDING
        if not kept.exists():
            return Standing(0, tuple(plan.variant for plan in self.plans))
        facts = json.loads(kept.read_text(encoding="utf-8"))
        controls = tuple(Control(**control) for control in facts["controls"])
        return Standing(facts["round"], tuple(facts["racing"]), controls)
