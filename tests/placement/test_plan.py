"""One suite over all strategies, whatever their number."""

import json

import pytest

from tests.support.models import LAYERS, WIDTH, tiny
from tsugiki.adapt.forms.bottleneck import Bottleneck
from tsugiki.base.anatomy import find_anatomy
from tsugiki.errors import BaseModelError, ConfigError
from tsugiki.placement.plan import STRATEGIES, Informed, Plan, head_states, plan_of

FORM = {"kind": "bottleneck", "rank": 4}


@pytest.fixture(scope="module")
def anatomy():
    return find_anatomy(tiny("bert"))


def strategy(kind, **fields):
    return STRATEGIES.parse({"kind": kind, "sites": ("residual",), "form": FORM, **fields})


def boundaries(plans):
    return [min(graft.layer for graft in plan.grafts) for plan in plans if plan.grafts]


# Those that look at the ground first are tried on one.
BLIND = [kind for kind in STRATEGIES.names() if not issubclass(STRATEGIES.load(kind), Informed)]
every = pytest.mark.parametrize("kind", BLIND)


def test_the_strategies_are_the_files_of_the_folder():
    assert {"evidence", "head", "race", "random", "top", "uniform"} <= set(STRATEGIES.names())


@every
@pytest.mark.parametrize("exit", [None, *range(1, LAYERS + 1)])
def test_every_plan_stands_below_its_exit_and_reads_states_up_to_it(anatomy, kind, exit):
    plans = strategy(kind, exit=exit).plans(anatomy)
    assert len({plan.variant for plan in plans}) == len(plans)
    for plan in plans:
        assert list(plan.states) == sorted(set(plan.states)) and plan.states[-1] == (exit or LAYERS)
        assert plan.states[0] > 0
        assert all(0 <= graft.layer < plan.states[-1] for graft in plan.grafts)
        assert all(graft.form == Bottleneck(rank=4) and graft.site == "residual" for graft in plan.grafts)
        assert len({(graft.layer, graft.site) for graft in plan.grafts}) == len(plan.grafts)
        # Where the reader has parameters their shapes fit the width.
        assert plan.reader.num_params(len(plan.states), WIDTH) >= 0


def test_linear_stands_for_all_projections_of_a_layer_and_each_is_taken_once(anatomy):
    (plan,) = strategy("top", boundary=LAYERS - 1, sites=("linear", "mlp.up", "residual")).plans(anatomy)
    names = [graft.site for graft in plan.grafts]
    assert names == [site.name for site in anatomy.sites[LAYERS - 1]] and "residual" in names


@every
def test_plans_come_with_the_cheapest_first(anatomy, kind):
    found = boundaries(strategy(kind).plans(anatomy))
    assert found == sorted(found, reverse=True)


@every
def test_an_exit_above_the_layers_is_refused_with_what_is_allowed(anatomy, kind):
    with pytest.raises(ConfigError) as caught:
        strategy(kind, exit=LAYERS + 1).plans(anatomy)
    assert caught.value.facts == {"found": 5, "allowed": "1..4"}


@pytest.mark.parametrize("kind", [kind for kind in BLIND if kind != "head"])
@pytest.mark.parametrize(("boundary", "exit", "allowed"), [(4, None, "0..3"), (2, 2, "0..1"), (9, None, "0..3")])
def test_a_boundary_that_is_not_below_the_exit_is_refused_with_what_is_allowed(anatomy, kind, boundary, exit, allowed):
    with pytest.raises(ConfigError) as caught:
        strategy(kind, boundary=boundary, exit=exit).plans(anatomy)
    assert caught.value.code == "placement.boundary" and caught.value.facts["allowed"] == allowed


@every
def test_a_boundary_that_is_given_is_the_highest_that_is_tried(anatomy, kind):
    plans = strategy(kind, boundary=1).plans(anatomy)
    assert all(boundary <= 1 for boundary in boundaries(plans))
    assert kind == "head" or 1 in boundaries(plans)


def test_each_strategy_stands_where_its_name_says(anatomy):
    assert strategy("head").plans(anatomy) == []
    assert boundaries(strategy("uniform").plans(anatomy)) == [0]
    assert boundaries(strategy("top").plans(anatomy)) == [2]
    assert boundaries(strategy("uniform", boundary=0).plans(anatomy)) == [0]
    assert boundaries(strategy("top", boundary=0).plans(anatomy)) == [0]
    assert [plan.variant for plan in strategy("top", exit=3).plans(anatomy)] == ["suffix 2/3"]


def test_every_adapted_layer_gets_every_site_once(anatomy):
    (plan,) = strategy("top", boundary=2, sites=("mlp.down", "residual", "mlp.down")).plans(anatomy)
    assert [(g.layer, g.site) for g in plan.grafts] == [(l, s) for l in (2, 3) for s in ("mlp.down", "residual")]


def test_a_site_that_does_not_exist_is_refused(anatomy):
    with pytest.raises(BaseModelError) as caught:
        strategy("top", sites=("mlp.dawn",)).plans(anatomy)
    assert "mlp.down" in str(caught.value)


@every
def test_a_plan_that_is_written_down_is_the_same_again(anatomy, kind):
    for plan in strategy(kind).plans(anatomy):
        again: Plan = plan_of(json.loads(json.dumps(plan.facts())))
        assert again == plan


def test_an_unknown_strategy_names_the_nearest():
    with pytest.raises(ConfigError) as caught:
        strategy("unifrom")
    assert caught.value.facts["nearest"] == "uniform" and "race" in str(caught.value)


@pytest.mark.parametrize("exit", range(1, 40))
def test_a_head_reads_three_states_or_what_there_is(exit):
    states = head_states(exit)
    assert states[-1] == exit and list(states) == sorted(set(states)) and states[0] >= 1
    assert len(states) == min(exit, 3)


@pytest.mark.parametrize("width", [32, 36, 30, 7])
def test_the_readout_of_the_race_fits_a_base_of_any_width(anatomy, width):
    import dataclasses

    import torch

    plans = strategy("race").plans(dataclasses.replace(anatomy, width=width))
    readouts = [plan for plan in plans if not plan.grafts]
    assert readouts
    for plan in readouts:
        params = plan.reader.init(len(plan.states), width)
        features = plan.reader.read(params, torch.randn(len(plan.states), 2, 5, width), torch.ones(2, 5))
        assert features.shape == (2, len(plan.states) * width)
