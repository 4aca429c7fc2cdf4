"""The plans of a run: given, continued, or chosen on the ground and then kept for when a killed run goes on."""

import json
from pathlib import Path

from accelerate.utils import broadcast_object_list

from tsugiki.errors import ConfigError
from tsugiki.home import write_atomically
from tsugiki.i18n import warn
from tsugiki.placement.budget import Budget
from tsugiki.placement.plan import STRATEGIES, Informed, Plan, Strategy, plan_of
from tsugiki.train.config import Config
from tsugiki.train.continued import continued
from tsugiki.train.prepare import Prepared
from tsugiki.train.survey import survey

_PLANS = "plans.json"


def strategy_of(config: Config) -> Strategy:
    """The strategy that settings name.

    Raises:
        ConfigError: there is none of that name, or it takes no notice of a budget that is set.
    """
    placement = config.placement.model_dump(mode="json")
    strategy = STRATEGIES.parse({"kind": placement.pop("strategy"), **placement})
    if config.budget != Budget() and not isinstance(strategy, Informed):
        raise ConfigError("placement.blind", strategy=strategy.kind)
    return strategy


def plans_of(ready: Prepared, folder: Path) -> list[Plan]:
    """What is to be trained beside the head.

    Args:
        ready: what the run begins with.
        folder: of the run.
    """
    strategy = strategy_of(ready.config)
    if ready.parent is not None:
        return continued(ready.parent, ready.task)
    # What the base lacks is said even where there are too few rows for modules.
    given = [] if isinstance(strategy, Informed) else strategy.plans(ready.base.anatomy)
    if not len(ready.held):
        warn("train.no_validation")
        return []
    if not isinstance(strategy, Informed):
        return given
    kept = folder / _PLANS
    if kept.exists():
        return [plan_of(facts) for facts in json.loads(kept.read_text(encoding="utf-8"))]
    plans = strategy.plans_on(survey(ready, strategy))
    # Timings differ from process to process; all have to train the same.
    (agreed,) = broadcast_object_list([[plan.facts() for plan in plans]])
    write_atomically(kept, json.dumps(agreed).encode())
    return [plan_of(facts) for facts in agreed]
