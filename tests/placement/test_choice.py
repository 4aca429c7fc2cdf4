from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.models import LAYERS, tiny
from tsugiki.base.anatomy import find_anatomy
from tsugiki.errors import ConfigError
from tsugiki.placement.budget import Budget
from tsugiki.placement.choice import Choice, Option, _options, choose
from tsugiki.placement.controls import controls_of, random_like, uniform_like
from tsugiki.placement.costs import Costs, Load
from tsugiki.placement.evidence import RANKS, Evidence
from tsugiki.placement.ground import Ground
from tsugiki.placement.knapsack import best_modules
from tsugiki.placement.plan import STRATEGIES, Informed, plan_of
from tsugiki.placement.prior import Prior

ANATOMY = find_anatomy(tiny("bert"))
SITES = ("attention.query", "mlp.up")
BASE_PARAMS = 100_000
COSTS = Costs(
    step_s=Load(0.1, 0.05, 0.01, 0.0),
    kept_bytes=Load(1e5, 1e6, 2e5, 0.0),
    answer_ms=Load(1.0, 0.5, 0.05, 0.0),
    num_passes=2,
    num_steps=20,
    fixed_bytes=10_000,
)


def ground(gains=None, exits=(2.0, 1.5, 1.2, 1.0), **budget):
    """Two sites a layer; a module in a higher layer is worth more, unless gains say another. No limit of itself."""
    usual = {(layer, site): tuple((layer + 1) * r / 400 for r in RANKS) for layer in range(LAYERS) for site in SITES}
    evidence = Evidence(usual if gains is None else gains, exits, (0.5,) * LAYERS, 0.9, 64, 0.1)
    sites = dict.fromkeys(range(LAYERS), SITES)
    form = {"kind": "low_rank", "rank": 8}
    return Ground(
        ANATOMY, BASE_PARAMS, sites, form, evidence, COSTS, Budget.model_validate({"max_params": None, **budget})
    )


def saved(option, found):
    return sum(found.evidence.gain((g.layer, g.site), rank_of(g)) for g in option.plan.grafts)


def rank_of(graft):
    return graft.form.model_dump()["rank"]


def chosen_on(found) -> Option:
    chosen = choose(found).chosen
    assert chosen is not None
    return chosen


def limits_hold(option, found):
    budget, cost = found.budget, option.cost
    held = (
        (budget.max_params, cost.num_params / BASE_PARAMS),
        (budget.max_train_s, cost.train_s),
        (budget.max_added_latency, cost.added_latency),
        (budget.max_peak_bytes, cost.peak_bytes),
        (budget.max_package_bytes, cost.package_bytes),
    )
    return all(limit is None or spent <= limit * (1 + 1e-6) for limit, spent in held)


def test_without_a_budget_every_site_that_is_promised_anything_has_its_largest_rank():
    found = {option.plan.variant: option for option in _options(ground())}
    assert len(found) == LAYERS * (LAYERS + 1) // 2
    whole = found[f"evidence 0/{LAYERS}"].plan.grafts
    assert {(g.layer, g.site) for g in whole} == set(ground().evidence.gains)
    assert {rank_of(g) for g in whole} == {RANKS[-1]}


def test_where_two_ranks_are_promised_the_same_the_smaller_is_taken():
    gains = {(layer, site): (0.1,) * len(RANKS) for layer in range(LAYERS) for site in SITES}
    assert {rank_of(g) for option in _options(ground(gains)) for g in option.plan.grafts} == {RANKS[0]}


amounts = st.lists(st.floats(0, 1), min_size=4, max_size=4)


@settings(max_examples=25, deadline=None)
@given(amounts, st.floats(0.005, 0.03))
def test_a_knapsack_holds_as_much_as_the_best_of_all_that_fit(worth, share):
    places = [(layer, site) for layer in (LAYERS - 2, LAYERS - 1) for site in SITES]
    gains = {place: tuple(np.sqrt(r) * w for r in RANKS) for place, w in zip(places, worth, strict=True)}
    none = {(layer, site): (0.0,) * len(RANKS) for layer in range(LAYERS - 2) for site in SITES}
    found = ground(gains | none, max_params=share)
    option = next((o for o in _options(replace(found, boundary=LAYERS - 2, exit=LAYERS))), None)
    assert (option is None) == (not best_modules(found, LAYERS - 2, LAYERS))
    sizes = {place: sum((ANATOMY.site(*place).in_width, ANATOMY.site(*place).out_width)) for place in places}

    def value(ranks):
        return sum(found.evidence.gain(place, rank) for place, rank in zip(places, ranks, strict=True))

    fitting = [
        ranks
        for ranks in product((0, *RANKS), repeat=4)
        if any(ranks[:2]) and sum(sizes[p] * r for p, r in zip(places, ranks, strict=True)) <= share * BASE_PARAMS
    ]
    if option is None:
        assert not fitting or not any(map(value, fitting))
        return
    assert limits_hold(option, found)
    assert saved(option, found) == pytest.approx(max(map(value, fitting)), rel=1e-3, abs=1e-5)


budgets = st.fixed_dictionaries(
    {},
    optional={
        "max_params": st.sampled_from(["0.5%", "1%", 0.05]),
        "max_train_s": st.floats(3.5, 10),
        "max_added_latency": st.sampled_from(["2%", "5%", 0.3]),
        "max_peak_bytes": st.integers(1_500_000, 9_000_000),
        "max_package_bytes": st.sampled_from(["2kB", "10kB", 99_999]),
    },
)


@settings(max_examples=25, deadline=None)
@given(budgets)
def test_no_limit_is_ever_broken_and_no_option_of_the_front_is_beaten(budget):
    found = ground(**budget)
    try:
        choice = choose(found)
    except ConfigError as error:
        assert error.code == "placement.unreachable" and not list(_options(found))
        return
    front = choice.front
    assert front and all(limits_hold(option, found) for option in front)
    assert not any(one.beats(other) for one in front for other in front)
    assert choice.chosen in front


def test_a_budget_without_room_is_refused_with_what_would_reach_it():
    with pytest.raises(ConfigError) as caught:
        choose(ground(max_train_s=0.5, max_params="0.001%"))
    assert caught.value.code == "placement.unreachable"
    assert "train_s 3.2" in str(caught.value) and "num_params" in str(caught.value)


@pytest.mark.parametrize("field", list(Budget.model_fields))
@pytest.mark.parametrize("value", [0, -1, "0%"])
def test_a_budget_of_nothing_is_no_budget(field, value):
    from tsugiki.spec import parse

    with pytest.raises(ConfigError):
        parse(Budget, {field: value}, where="budget")


def test_where_no_module_is_promised_anything_none_is_placed():
    nothing = {(layer, site): (0.0,) * len(RANKS) for layer in range(LAYERS) for site in SITES}
    assert choose(ground(nothing)) == Choice((), None)
    for kind, left in (("evidence", ["readout", "readout fresh"]), ("random", [])):
        strategy = STRATEGIES.parse({"kind": kind, "sites": SITES, "form": {"kind": "low_rank"}})
        assert isinstance(strategy, Informed)
        assert [plan.variant for plan in strategy.plans_on(ground(nothing))] == left


def test_evidence_sends_its_choice_its_best_and_two_controls_into_a_race():
    found = ground(max_params="3%")
    strategy = STRATEGIES.parse({"kind": "evidence", "sites": SITES, "form": {"kind": "low_rank"}})
    assert isinstance(strategy, Informed)
    plans = [plan for plan in strategy.plans_on(found) if plan.abreast]
    chosen, best = chosen_on(found), min(choose(found).front, key=lambda option: option.loss)
    assert plans[0].grafts == chosen.plan.grafts and best.plan.grafts in [plan.grafts for plan in plans]
    assert [plan.variant.split()[0] for plan in plans if plan.control] == ["uniform", "random"]
    assert not any(plan.control for plan in plans if plan.variant.startswith("evidence"))
    assert all(plan_of(plan.facts()) == plan for plan in plans)


def test_a_control_that_places_what_was_chosen_is_none():
    found = replace(ground(), boundary=LAYERS - 1, sites=dict.fromkeys(range(LAYERS), SITES[:1]), exit=LAYERS)
    assert controls_of(chosen_on(found), found, seed=0) == ()


def test_a_score_that_is_wanted_takes_the_fastest_answer_that_is_promised_it(caplog):
    exits, scores = (2.0, 1.5, 1.2, 1.0), (0.2, 0.45, 0.6, 0.7)
    free = ground({(layer, site): (0.01 * (layer + 1),) * len(RANKS) for layer in range(LAYERS) for site in SITES})
    found = replace(free, evidence=replace(free.evidence, exits=exits, scores=scores))
    assert found.evidence.score_at(1.5) == pytest.approx(0.45)
    assert found.evidence.score_at(0.5) > 0.7 and found.evidence.score_at(-9.0) == 1.0

    def exit_for(score):
        return max(chosen_on(replace(found, budget=Budget(max_params=None, min_score=score))).plan.states)

    assert exit_for(0.3) < exit_for(0.7) <= LAYERS
    assert "promises" not in caplog.text
    assert exit_for(1.0) == max(chosen_on(found).plan.states) and "promises" in caplog.text


def test_the_cheapest_that_saves_most_is_chosen():
    # All that the upper two layers save is nearly all there is.
    gains = {
        (layer, site): tuple((0.001 if layer < LAYERS - 2 else 0.2) for _ in RANKS)
        for layer in range(LAYERS)
        for site in SITES
    }
    chosen = chosen_on(ground(gains))
    assert min(g.layer for g in chosen.plan.grafts) == LAYERS - 2
    assert max(chosen.plan.states) == LAYERS


@given(st.integers(0, 1_000))
@settings(max_examples=20, deadline=None)
def test_a_random_control_costs_the_same(seed):
    found = ground(max_params="3%")
    chosen = chosen_on(found)
    control = random_like(chosen.plan, found, seed)
    one, other = chosen.cost, COSTS.of(control, ANATOMY)
    assert one.train_s == pytest.approx(other.train_s) and one.latency_ms == pytest.approx(other.latency_ms)
    assert sorted(rank_of(g) for g in control.grafts) == sorted(rank_of(g) for g in chosen.plan.grafts)
    assert len({(g.layer, g.site) for g in control.grafts}) == len(control.grafts)


def test_random_controls_differ_by_their_seed():
    found = ground(max_params="1%")
    drawn = {random_like(chosen_on(found).plan, found, seed).grafts for seed in range(20)}
    assert len(drawn) > 1


def test_a_uniform_control_has_one_rank_everywhere_and_is_near_in_cost():
    found = ground(max_params="3%")
    chosen = chosen_on(found)
    control = uniform_like(chosen, found)
    assert len({rank_of(g) for g in control.grafts}) == 1
    boundary = min(g.layer for g in control.grafts)
    assert len(control.grafts) == (max(control.states) - boundary) * len(SITES)
    assert 0.5 < COSTS.of(control, ANATOMY).train_s / chosen.cost.train_s < 2


@pytest.mark.parametrize(("boundary", "exit"), [(1, None), (None, 3), (1, 3)])
def test_a_boundary_or_an_exit_that_is_given_is_kept(boundary, exit):
    front = choose(replace(ground(), boundary=boundary, exit=exit)).front
    assert front
    assert {min(g.layer for g in o.plan.grafts) for o in front} <= ({boundary} if boundary else set(range(LAYERS)))
    assert {max(o.plan.states) for o in front} <= ({exit} if exit else set(range(1, LAYERS + 1)))


def test_where_the_evidence_does_not_tell_sites_apart_the_upper_half_is_taken_and_that_is_said(caplog):
    found = ground()
    unsure = replace(found, evidence=replace(found.evidence, reliability=0.1))
    chosen = chosen_on(unsure)
    assert {g.layer for g in chosen.plan.grafts} == set(range(LAYERS // 2, LAYERS))
    assert "0.10" in caplog.text
    kept = chosen_on(replace(unsure, boundary=1, exit=3))
    assert {g.layer for g in kept.plan.grafts} == {1, 2}


def test_where_the_evidence_tells_nothing_what_earlier_adapters_showed_is_gone_by(caplog):
    found = ground(max_params="1%")
    places = [(layer, site) for layer in range(LAYERS) for site in SITES]
    shares = {place: 0.9 if place == (1, SITES[0]) else 0.1 / (len(places) - 1) for place in places}
    prior = Prior(shares, frozenset(places), 2)
    unsure = replace(found, evidence=replace(found.evidence, reliability=0.1), prior=prior)
    assert (1, SITES[0]) in {(g.layer, g.site) for g in chosen_on(unsure).plan.grafts}
    assert "2 ablation" in caplog.text
    # Where it does, the rows have the word.
    sure = replace(found, prior=prior)
    assert chosen_on(sure).plan.grafts == chosen_on(found).plan.grafts
