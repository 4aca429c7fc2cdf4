"""Plans side by side, of which the best goes on."""

import json
from dataclasses import replace

import pytest

from tests.support.runs import suffix_plan, track
from tsugiki.manifest import Control
from tsugiki.train.heat import Heat

PASSES, FEW = 6, 2


def plans(base, number=4):
    """The first is the choice, the last two are controls; each is of another seed of sites."""
    kinds = ("choice", "other", "uniform", "random")[:number]
    boundaries = (2, 1, 3, 0)
    made = (suffix_plan(base, boundary) for boundary in boundaries)
    return [
        replace(plan, variant=f"{kind} {boundary}/4", abreast=True, control=kind in ("uniform", "random"))
        for kind, boundary, plan in zip(kinds, boundaries, made, strict=False)
    ]


@pytest.fixture
def heat(tmp_path):
    def made(number=4, folder="run", **settings):
        started = track(tmp_path / folder, epochs=PASSES, patience=99, **settings)
        return Heat(started, plans(started.base, number), lambda _: None, 0.0)

    return made


def passes(candidate):
    return len(candidate.curve) - 1


def test_the_best_of_the_plans_goes_on_after_a_third_of_the_passes(heat):
    found, controls = heat().run()
    assert [candidate.variant.split()[0] for candidate in found] == ["choice", "other", "uniform", "random"]
    assert sorted(map(passes, found)) == [FEW, FEW, FEW, PASSES]
    assert {control.variant.split()[0] for control in controls} == {"uniform", "random"}
    assert {control.chosen for control in controls} == {"choice 2/4"}
    assert all(control.num_rows == 15 and control.passes == FEW for control in controls)


def test_the_last_one_is_trained_as_if_it_had_been_alone(heat, tmp_path):
    found, _ = heat().run()
    last = max(found, key=passes)
    alone = track(tmp_path / "alone", epochs=PASSES, patience=99)
    (plan,) = [plan for plan in plans(alone.base) if plan.variant == last.variant]
    whole = alone.run(plan, None, 0.0)
    assert whole.curve[-1][1] == last.curve[-1][1] and whole.score == last.score
    assert all((whole.tensors[name] == tensor).all() for name, tensor in last.tensors.items())


def test_the_one_with_the_least_loss_goes_on(heat):
    race = heat()
    found, _ = race.run()
    cut = json.loads((race.track.folder / "cut.json").read_text())
    assert cut["best"] == max(found, key=passes).variant


def test_a_race_that_is_stopped_goes_on_where_it_was(heat, monkeypatch):
    whole, whole_controls = heat(folder="whole").run()
    stopped = heat(folder="stopped")
    train, left = type(stopped.track).run, 5

    def dies(self, *args):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return train(self, *args)

    monkeypatch.setattr(type(stopped.track), "run", dies)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    monkeypatch.setattr(type(stopped.track), "run", train)
    found, controls = heat(folder="stopped").run()
    assert [(c.variant, passes(c), c.score) for c in found] == [(c.variant, passes(c), c.score) for c in whole]
    assert [(c.variant, c.gain) for c in controls] == [(c.variant, c.gain) for c in whole_controls]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_fewer_plans_run_as_well(heat, number):
    found, controls = heat(number).run()
    assert len(found) == number and sum(passes(candidate) == PASSES for candidate in found) == 1
    assert len(controls) == max(0, number - 2)


def test_with_one_pass_nothing_is_left_out(tmp_path):
    started = track(tmp_path / "one", epochs=1, patience=99)
    found, controls = Heat(started, plans(started.base), lambda _: None, 0.0).run()
    assert [passes(candidate) for candidate in found] == [1] * 4 and len(controls) == 2


@pytest.mark.parametrize(("gain", "verdict"), [(0.3, "better"), (0.1, "even"), (-0.1, "even"), (-0.3, "worse")])
def test_a_control_says_no_more_than_its_rows_show(gain, verdict):
    control = Control(variant="random 3/6", chosen="evidence 3/6", passes=2, gain=gain, error=0.1, num_rows=90)
    assert control.verdict == verdict
