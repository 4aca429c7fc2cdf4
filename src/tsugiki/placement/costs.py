"""What a placement costs on this machine, by a model with few coefficients that are measured here and now.

A step, what it keeps for the way back, and an answer each cost something fixed, something for each layer that is run
and something for each module. A handful of plans is timed on batches of the rows' own lengths, and the coefficients
follow by least squares; none is below zero.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from tsugiki.adapt.form import Form
from tsugiki.base.anatomy import Anatomy
from tsugiki.placement.plan import Plan
from tsugiki.spec import Spec

Floats = NDArray[np.float64]

_FLOAT_BYTES = 4
# Of a trained parameter: itself, its gradient and the two moments of Adam.
_TRAINED_BYTES = 4 * _FLOAT_BYTES
MILLION = 1e6


class Load(NamedTuple):
    """What a placement asks of a machine; parameters are counted in millions."""

    fixed: float
    layers: float
    modules: float
    params: float


class Measured(NamedTuple):
    """What one plan took: seconds of a step, bytes kept for the way back, milliseconds of an answer at batch 1."""

    step_s: float
    kept_bytes: float
    answer_ms: float


Measure = Callable[[Plan], Measured]


class Predicted(Spec):
    """What a placement is expected to cost.

    Args:
        train_s: seconds of training, without the cache.
        latency_ms: of one answer.
        added_latency: share by which that is above the base run up to the same exit.
        peak_bytes: of training, above the base.
        num_params: of the modules.
        package_bytes: of the modules as they are saved.
    """

    train_s: float
    latency_ms: float
    added_latency: float
    peak_bytes: int
    num_params: int
    package_bytes: int


@dataclass(frozen=True)
class Costs:
    """Coefficients in the order of `Load`.

    Args:
        step_s: seconds of one step; its layers are those above the boundary.
        kept_bytes: for the way back, of what goes forward and back at once; its layers likewise.
        answer_ms: milliseconds of an answer to one row; its layers are those below the exit.
        num_passes: over all rows, of a whole run.
        num_steps: of a whole run.
        fixed_bytes: of training, whatever is trained.
    """

    step_s: Load
    kept_bytes: Load
    answer_ms: Load
    num_passes: int
    num_steps: int
    fixed_bytes: int

    def of(self, plan: Plan, anatomy: Anatomy) -> Predicted:
        """What a plan is expected to cost."""
        load = load_of(plan, anatomy)
        return self.predicted(load, max(plan.states))

    def predicted(self, load: Load, exit: int) -> Predicted:
        """What training under a load and answering up to an exit are expected to cost."""
        answering = load._replace(layers=float(exit))
        alone = _times(self.answer_ms, answering._replace(modules=0.0, params=0.0))
        latency_ms, num_params = _times(self.answer_ms, answering), round(load.params * MILLION)
        kept = _times(self.kept_bytes, load) + num_params * _TRAINED_BYTES + self.fixed_bytes
        return Predicted(
            train_s=_times(self.step_s, load) * self.num_steps,
            latency_ms=latency_ms,
            added_latency=latency_ms / alone - 1 if alone else 0.0,
            peak_bytes=round(kept),
            num_params=num_params,
            package_bytes=num_params * _FLOAT_BYTES,
        )


def fit_costs(
    plans: Sequence[Plan],
    measure: Measure,
    anatomy: Anatomy,
    num_passes: int,
    pass_steps: int,
    fixed_bytes: int,
    peaks: Sequence[float] = (),
) -> Costs:
    """Time some plans and find the coefficients.

    Args:
        plans: that differ in layers, modules and parameters.
        measure: does it.
        anatomy: of the base.
        num_passes: over all rows, of a whole run.
        pass_steps: steps of one pass.
        fixed_bytes: of training, whatever is trained.
        peaks: memory of training of the first and the third plan; empty where it was not measured.
    """
    found = [measure(plan) for plan in plans]
    times, working = _working(peaks, [found[0].kept_bytes, found[min(2, len(found) - 1)].kept_bytes])
    trained = np.array([load_of(plan, anatomy) for plan in plans])
    # An answer runs all layers below the exit.
    answering = np.array([load_of(p, anatomy)._replace(layers=float(max(p.states))) for p in plans])
    return Costs(
        step_s=_solved(trained, [m.step_s for m in found]),
        kept_bytes=_solved(trained, [times * m.kept_bytes for m in found]),
        answer_ms=_solved(answering, [m.answer_ms for m in found]),
        num_passes=num_passes,
        num_steps=num_passes * pass_steps,
        fixed_bytes=fixed_bytes + round(working),
    )


def _working(peaks: Sequence[float], kept: Sequence[float]) -> tuple[float, float]:
    """Bytes needed for each byte that is kept, never less than itself, and those beside."""
    if len(peaks) < len(kept) or kept[1] <= kept[0]:
        return 1.0, 0.0
    times = max(1.0, (peaks[1] - peaks[0]) / (kept[1] - kept[0]))
    return times, max(0.0, peaks[0] - times * kept[0])


def load_of(plan: Plan, anatomy: Anatomy) -> Load:
    """What a plan asks of training: layers from its lowest module up to the exit."""
    params = sum(num_params(anatomy, (graft.layer, graft.site), graft.form) for graft in plan.grafts)
    exit = max(plan.states)
    layers = exit - min((graft.layer for graft in plan.grafts), default=exit)
    return Load(1.0, float(layers), float(len(plan.grafts)), params / MILLION)


def num_params(anatomy: Anatomy, place: tuple[int, str], form: Form) -> int:
    """Parameters of one module."""
    site = anatomy.site(*place)
    return form.num_params(site.in_width, site.out_width)


def _solved(loads: Floats, measured: Sequence[float]) -> Load:
    # Columns are brought to one size, or the parameters in millions would hardly count.
    size = np.maximum(np.abs(loads).max(0), 1e-12)
    target = np.array(measured)
    # A tenth too much of a small figure is as wrong as of a large one.
    weight = 1.0 / np.maximum(target, 1e-12)
    found, _ = nnls(loads / size * weight[:, None], target * weight)
    return Load(*(found / size).tolist())


def _times(coefficients: Load, load: Load) -> float:
    return float(np.dot(coefficients, load))
