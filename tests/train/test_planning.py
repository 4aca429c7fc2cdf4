"""Placements that are chosen on the ground: the whole way from rows to `plan.json` and to an adapter."""

import json

import pytest

from tests.support import victim
from tests.support.models import LAYERS
from tests.support.runs import easy_splits, quick_config
from tsugiki.errors import BaseModelError, ConfigError
from tsugiki.placement.evidence import RANKS
from tsugiki.train import planning
from tsugiki.train.planned import plan_adapter
from tsugiki.train.run import train_adapter

LOW_RANK = {"kind": "low_rank", "rank": 4}


def chosen(base, **settings):
    usual = {"placement__strategy": "evidence", "placement__form": LOW_RANK, "placement__sites": ["linear"]}
    return quick_config(base, **{**usual, **settings})


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_a_plan_says_what_was_chosen_and_what_else_there_was(request, family, tmp_path):
    planned = plan_adapter(easy_splits(), chosen(request.getfixturevalue(family)))
    planned.write(tmp_path / "plan")
    found = json.loads((tmp_path / "plan" / "plan.json").read_text(encoding="utf-8"))
    assert set(found) == {"chosen", "predicted", "pareto", "evidence", "controls", "prior", "budget"}
    assert found["chosen"] in found["pareto"] and found["predicted"] == found["chosen"]["cost"]
    assert {module["form"]["rank"] for module in found["chosen"]["modules"]} <= set(RANKS)
    assert len(found["evidence"]["exits"]) == LAYERS and found["evidence"]["num_rows"] == 48
    assert [control["variant"].split()[0] for control in found["controls"]] == ["uniform", "random"]
    seconds = [option["cost"]["train_s"] for option in found["pareto"]]
    assert seconds == sorted(seconds) and seconds[0] > 0
    assert (tmp_path / "plan" / "plan.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("strategy", ["evidence", "random"])
def test_what_was_chosen_is_trained_and_saved(bert, tmp_path, strategy, own_home):
    trained = train_adapter(easy_splits(), chosen(bert, placement__strategy=strategy, train__words=False))
    grafted = next(c for c in trained.candidates if c.placement.modules)
    assert grafted.variant.startswith(strategy)
    adapter = trained.adapter_of(grafted)
    adapter.save(tmp_path / "adapter")
    assert {m["form"]["rank"] for m in adapter.manifest.model_dump()["placement"]["modules"]} <= set(RANKS)
    adapter.close()
    assert not [path for path in (own_home / "runs").rglob("*") if path.is_file()]


def test_a_run_that_is_killed_goes_on_with_the_placement_that_it_had_chosen(bert, own_home, monkeypatch):
    settings = {"placement.strategy": "evidence", "placement.form": LOW_RANK, "placement.sites": ["linear"]}
    flat = {key.replace(".", "__"): value for key, value in settings.items()}
    process = victim.start(
        victim.train_and_die, str(bert), flat, "step", 2, environment={"TSUGIKI_HOME": str(own_home)}
    )
    assert victim.finish(process) == -9
    (kept,) = (own_home / "runs").rglob("plans.json")
    written = json.loads(kept.read_text(encoding="utf-8"))
    monkeypatch.setattr(planning, "survey", lambda *_: pytest.fail("it looked again"))
    trained = train_adapter(easy_splits(), quick_config(bert, **flat))
    grafted = [c for c in trained.candidates if c.placement.modules and "+" not in c.variant]
    modules = [[m.model_dump(mode="json") for m in c.placement.modules] for c in grafted]
    assert modules and modules == [plan["modules"] for plan in written["plans"] if plan["abreast"]]
    assert trained.seconds["survey"] == written["seconds"] > 0


def test_a_choice_is_measured_against_its_controls_and_its_forecast(bert, tmp_path):
    trained = train_adapter(easy_splits(), chosen(bert, train__words=False))
    manifest = trained.adapter.manifest
    first = next(c.variant for c in trained.candidates if c.placement.modules)
    assert {control.variant.split()[0] for control in manifest.controls} <= {"uniform", "random"}
    assert manifest.controls and {control.chosen for control in manifest.controls} == {first}
    assert set(manifest.forecasts) == {c.variant for c in trained.candidates if c.placement.modules}
    for costs in manifest.forecasts.values():
        assert set(costs) == {"train_s", "latency_ms", "peak_bytes"}
        assert all(cost.predicted > 0 and cost.measured > 0 for cost in costs.values())
    assert manifest.metrics["survey_s"] == pytest.approx(trained.seconds["survey"], abs=1e-3)
    assert trained.seconds["total"] > trained.seconds["survey"] and trained.curve[1][0] > trained.seconds["survey"]
    trained.adapter.save(tmp_path / "adapter")
    card = (tmp_path / "adapter" / "README.md").read_text(encoding="utf-8")
    assert all(control.variant in card for control in manifest.controls)


def test_where_a_score_is_enough_what_answers_fastest_is_taken(bert, caplog):
    settings = {"train__words": False, "budget__min_score": "40%"}
    trained = train_adapter(easy_splits(), chosen(bert, **settings))
    reaching = [c for c in trained.candidates if c.score >= 0.4]
    exit = trained.adapter.manifest.placement.exit
    assert exit == min(c.placement.exit for c in reaching) and "head of 1" in {c.variant for c in trained.candidates}
    # Nothing that answers more slowly was trained.
    assert all(c.placement.exit <= exit or not c.placement.modules for c in trained.candidates)
    assert "wanted" not in caplog.text


def test_a_score_that_nothing_reaches_is_said_and_the_best_is_taken(bert, caplog):
    trained = train_adapter(easy_splits(), chosen(bert, train__words=False, budget__min_score=1.0))
    assert "100.0 %" in caplog.text
    assert trained.adapter.manifest.variant in {c.variant for c in trained.candidates}


def test_a_budget_is_kept(bert):
    planned = plan_adapter(easy_splits(), chosen(bert, budget__max_params="3%"))
    base_params = planned.ground.base_params
    front = planned.choice.front
    assert front and all(o.cost.num_params <= 0.03 * base_params for o in front)


def test_a_budget_that_has_no_room_says_what_would_have(bert):
    with pytest.raises(ConfigError) as caught:
        plan_adapter(easy_splits(), chosen(bert, budget__max_package_bytes="1B"))
    assert caught.value.code == "placement.unreachable" and "package_bytes" in str(caught.value)


@pytest.mark.parametrize("strategy", ["race", "uniform", "head"])
def test_a_strategy_that_takes_no_notice_of_a_budget_refuses_one(bert, strategy):
    settings = {"placement__strategy": strategy, "budget__max_params": "2%"}
    with pytest.raises(ConfigError) as caught:
        train_adapter(easy_splits(), chosen(bert, **settings))
    assert caught.value.code == "placement.blind" and strategy in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        plan_adapter(easy_splits(), chosen(bert, placement__strategy=strategy))
    assert caught.value.code == "placement.nothing_to_choose"


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"placement__boundary": LAYERS}, ConfigError),
        ({"placement__exit": LAYERS + 1}, ConfigError),
        ({"placement__sites": ["mlp.dawn"]}, BaseModelError),
    ],
)
def test_what_the_base_lacks_is_refused_before_anything_is_timed(bert, settings, kind):
    with pytest.raises(kind):
        plan_adapter(easy_splits(), chosen(bert, **settings))


def test_rows_of_one_length_can_be_planned_for(bert):
    rows = easy_splits()
    words = {label: text.split()[0] for text, label in zip(rows.train.texts, rows.train.labels, strict=True)}
    short = type(rows.train)(
        tuple(f"{words[label]} {n}" for n, label in enumerate(rows.train.labels)), rows.train.labels
    )
    planned = plan_adapter(type(rows)(short, rows.validation, None), chosen(bert))
    assert planned.ground.evidence.num_rows == len(short)
