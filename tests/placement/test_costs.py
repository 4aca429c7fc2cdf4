import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.models import LAYERS, tiny
from tsugiki.base.anatomy import find_anatomy
from tsugiki.placement.costs import Costs, Load, Measured, fit_costs, load_of
from tsugiki.placement.strategies.uniform import Uniform

FORM = {"kind": "low_rank", "rank": 4}


@pytest.fixture(scope="module")
def anatomy():
    return find_anatomy(tiny("bert"))


def suffix(anatomy, boundary, exit=LAYERS, sites=("linear",), rank=4):
    form = {**FORM, "rank": rank}
    return Uniform(boundary=boundary, exit=exit, sites=sites, form=form).plans(anatomy)[0]


def timed(anatomy):
    return [
        *(suffix(anatomy, boundary) for boundary in (0, 1, LAYERS - 1)),
        suffix(anatomy, 1, sites=("mlp.up",)),
        suffix(anatomy, 1, rank=32),
        suffix(anatomy, 0, exit=2),
    ]


def test_a_load_counts_layers_modules_and_parameters(anatomy):
    load = load_of(suffix(anatomy, 1, exit=3, sites=("mlp.up",)), anatomy)
    site = anatomy.site(1, "mlp.up")
    assert load[:3] == (1.0, 2.0, 2.0)
    assert load.params == pytest.approx(2 * 4 * (site.in_width + site.out_width) / 1e6)


positive = st.floats(0.01, 10.0)


@settings(deadline=None)
@given(st.tuples(positive, positive, positive, positive), st.tuples(positive, positive, positive))
def test_costs_that_are_linear_are_found_and_foretold(step, answer):
    anatomy = find_anatomy(tiny("bert"))

    def measure(plan):
        load = load_of(plan, anatomy)
        return Measured(
            step_s=sum(c * x for c, x in zip(step, load, strict=True)),
            kept_bytes=1e6 * load.layers,
            answer_ms=answer[0] + answer[1] * max(plan.states) + answer[2] * load.modules,
        )

    costs = fit_costs(timed(anatomy), measure, anatomy, num_passes=3, pass_steps=7, fixed_bytes=1_000)
    for plan in (suffix(anatomy, 2), suffix(anatomy, 1, exit=3, rank=8), suffix(anatomy, 0, sites=("mlp.down",))):
        found, wanted = costs.of(plan, anatomy), measure(plan)
        assert found.train_s == pytest.approx(21 * wanted.step_s, rel=1e-6)
        assert found.latency_ms == pytest.approx(wanted.answer_ms, rel=1e-6)
        assert found.num_params == round(1e6 * load_of(plan, anatomy).params)
        assert found.peak_bytes == pytest.approx(wanted.kept_bytes + 16 * found.num_params + 1_000, rel=1e-6)


def test_modules_add_to_an_answer_and_never_save(anatomy):
    def measure(plan):
        return Measured(1.0, 1.0, 5.0 - 0.01 * len(plan.grafts))

    costs = fit_costs(timed(anatomy), measure, anatomy, 1, 1, 0)
    assert costs.of(suffix(anatomy, 0), anatomy).added_latency >= 0


def test_nothing_is_divided_by_an_answer_that_takes_no_time(anatomy):
    nothing = Load(0.0, 0.0, 0.0, 0.0)
    assert Costs(nothing, nothing, nothing, 1, 1, 0).of(suffix(anatomy, 0), anatomy).added_latency == 0.0
