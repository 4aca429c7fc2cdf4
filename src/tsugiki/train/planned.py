"""A placement that was chosen and not yet trained: what speaks for it, what it would cost, what else there was."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsugiki.base.kernels import lean_kernels
from tsugiki.data.rows import Splits
from tsugiki.errors import ConfigError
from tsugiki.placement.choice import Choice, Option, choose
from tsugiki.placement.controls import controls_of
from tsugiki.placement.evidence import RANKS
from tsugiki.placement.ground import Ground
from tsugiki.placement.plan import Informed, Plan
from tsugiki.report.placement import placement_picture
from tsugiki.report.plots import png
from tsugiki.train.config import Config
from tsugiki.train.planning import strategy_of
from tsugiki.train.prepare import prepare
from tsugiki.train.survey import survey


@dataclass(frozen=True)
class Planned:
    """What was found before training.

    Args:
        ground: evidence, timings and budget.
        choice: what was chosen, and what else there was.
        controls: uniform and random placements of the same cost.
    """

    ground: Ground
    choice: Choice
    controls: tuple[Plan, ...]

    def facts(self) -> dict[str, Any]:
        """As plain data, as in `plan.json`."""
        chosen = self._of(self.choice.chosen) if self.choice.chosen else None
        return {
            "chosen": chosen,
            "predicted": chosen and chosen["cost"],
            "pareto": [self._of(option) for option in self.choice.front],
            "evidence": self._evidence(),
            "controls": [
                {**plan.facts(), "cost": self.ground.cost(plan).model_dump(mode="json")} for plan in self.controls
            ],
            "prior": self._prior(),
            "budget": self.ground.budget.model_dump(mode="json"),
        }

    def write(self, out: Path) -> None:
        """Write `plan.json` and `plan.png`."""
        out.mkdir(parents=True, exist_ok=True)
        found = self.facts()
        (out / "plan.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
        (out / "plan.png").write_bytes(png(placement_picture, found))

    def _of(self, option: Option) -> dict[str, Any]:
        return option.plan.facts() | {"loss": option.loss, "cost": option.cost.model_dump()}

    def _prior(self) -> dict[str, Any] | None:
        prior = self.ground.prior
        return None if prior is None else {"ablations": prior.num_ablations, "agreement": self.ground.agreement}

    def _evidence(self) -> dict[str, Any]:
        found = self.ground.evidence
        exits = zip(found.exits, found.scores, strict=True)
        return {
            "sites": [
                {"layer": layer, "site": site, "gains": dict(zip(map(str, RANKS), gains, strict=True))}
                for (layer, site), gains in found.gains.items()
            ],
            "exits": [{"exit": e, "loss": loss, "score": score} for e, (loss, score) in enumerate(exits, 1)],
            "reliability": found.reliability,
            "num_rows": found.num_rows,
            "seconds": found.seconds,
        }


def plan_adapter(splits: Splits, config: Config) -> Planned:
    """Choose a placement without training it.

    Raises:
        ConfigError: the strategy does not choose by evidence, or the budget has no room for any module.
        RowsError, MissingError, BaseModelError: as for training.
    """
    strategy = strategy_of(config)
    if not isinstance(strategy, Informed):
        raise ConfigError("placement.nothing_to_choose", strategy=strategy.kind)
    ready = prepare(splits, config)
    with lean_kernels(ready.base.dtype):
        ground = survey(ready, strategy)
    choice = choose(ground)
    return Planned(ground, choice, controls_of(choice.chosen, ground, seed=0) if choice.chosen else ())
