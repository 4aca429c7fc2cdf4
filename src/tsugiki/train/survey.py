"""Look at the ground before anything is placed: timings, then evidence from as many rows as the time allows."""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from tsugiki.base.model import Base
from tsugiki.base.prefix_cache import PrefixCache
from tsugiki.base.tokens import encode
from tsugiki.data.rows import Rows
from tsugiki.data.split import subsample
from tsugiki.placement.costs import Costs
from tsugiki.placement.ground import Ground
from tsugiki.placement.plan import Strategy
from tsugiki.placement.prior import prior_for
from tsugiki.placement.probe import Probe, quarters_of
from tsugiki.tasks.task import Task
from tsugiki.train.head import fit_path
from tsugiki.train.prepare import Prepared
from tsugiki.train.trial import costs_of

_MOST_ROWS, _ROWS_PER_CLASS = 2_000, 8
# Of the time of the training that is planned, or so many seconds where that is more.
_SHARE, _LEAST_S = 0.1, 5.0
# A head that fits its rows closely leaves the modules no gradient; see `train.heads`.
_PENALTY = 1e-3


def survey(ready: Prepared, strategy: Strategy) -> Ground:
    """What placements are to be chosen by.

    Args:
        ready: rows, task, base and settings.
        strategy: says which sites may be taken, and between which layers.

    Raises:
        ConfigError: boundary and exit do not fit the base, or the prior is of another one.
        BaseModelError: it has no such site.
    """
    base, rows, task, config = ready.base, ready.train, ready.task, ready.config
    strategy.suffix(base.anatomy, strategy.boundary or 0)  # what was asked for is there
    sites = {layer: tuple(strategy.sites_of(base.anatomy, layer)) for layer in range(base.num_layers)}
    given = config.placement.prior
    prior = prior_for(base.layer_digests, sites, None if given is None else Path(given))
    lengths = [len(ids) for ids in encode(base, rows.texts, ready.max_length)]
    costs = costs_of(ready, lengths)
    drawn = rows.take(subsample(rows.strata, _num_rows(costs, rows, base, strategy), config.train.seed))
    cached = PrefixCache(base, ready.max_length, config.cache).rows(drawn.texts, (), base.num_layers)
    targets = task.targets(drawn.labels or ())
    quarters = quarters_of(drawn.strata, config.train.seed)
    probe = Probe(base, cached, targets, task, head_fitter(task), quarters, config.train.seed)
    return Ground(
        anatomy=base.anatomy,
        base_params=base.num_params,
        sites=sites,
        form=config.placement.form,
        evidence=probe.run(),
        costs=costs,
        budget=config.budget,
        boundary=strategy.boundary,
        exit=strategy.exit,
        prior=prior,
    )


def head_fitter(task: Task) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Fits the head that the gradients are of."""

    def fit(features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        (head,) = fit_path(features, targets, task, (_PENALTY,))
        return head.weight, head.bias

    return fit


def _num_rows(costs: Costs, rows: Rows, base: Base, strategy: Strategy) -> int:
    """As many rows as can be looked at in time, but eight for each class."""
    whole = costs.of(strategy.suffix(base.anatomy, 0), base.anatomy)
    planned = costs.of(strategy.suffix(base.anatomy, base.num_layers // 2), base.anatomy)
    row_s = whole.train_s / (costs.num_passes * len(rows))
    room = max(_SHARE * planned.train_s, _LEAST_S) / max(row_s, 1e-9)
    return min(len(rows), _MOST_ROWS, max(int(room), _ROWS_PER_CLASS * len(rows.classes)))
