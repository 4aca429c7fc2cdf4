"""A run that is killed goes on exactly where it was, and damaged or missing files cost time alone."""

import json
import os
import shutil
import signal
import time

import pytest
import torch
from safetensors import safe_open

from tests.support import victim
from tests.support.runs import easy_splits, quick_config
from tsugiki.home import home
from tsugiki.train import loop, race
from tsugiki.train.folder import run_folder
from tsugiki.train.run import train_adapter

# A checkpoint after every step; every draw of dropout counts; three candidates with steps.
SETTINGS = {"train.checkpoint_s": 1e-9, "train.module_dropout": 0.3, "train.epochs": 3}
STEPS = 9  # of each candidate

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no signals")


def run(base, **settings):
    return train_adapter(easy_splits(), quick_config(base, **{**SETTINGS, **settings}))


def tensors_of(trained):
    return {c.variant: {**c.tensors, "logits": c.logits} for c in trained.candidates}


def same(one, other):
    return one.keys() == other.keys() and all(
        one[variant].keys() == other[variant].keys()
        and all(torch.equal(one[variant][name], other[variant][name]) for name in one[variant])
        for variant in one
    )


def counting(monkeypatch):
    """The number of steps and the candidates that are trained from here on."""
    steps, trained = [], []
    step, train = loop._step, race.Track._train
    monkeypatch.setattr(loop, "_step", lambda *a: (steps.append(1), step(*a))[1])
    monkeypatch.setattr(race.Track, "_train", lambda self, plan, *a: (trained.append(plan.variant), train(self, plan, *a))[1])
    return steps, trained


def left(home):
    return sorted(p.name for p in (home / "runs").rglob("*") if p.is_file())


@pytest.fixture(scope="module")
def whole(bert, tmp_path_factory):
    """An uninterrupted run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSUGIKI_HOME", str(tmp_path_factory.mktemp("home")))
        steps, trained = counting(patch)
        found = run(bert)
    assert trained == ["readout", "suffix 2/4"] and len(steps) == 2 * STEPS
    return tensors_of(found)


@pytest.mark.parametrize(
    ("moment", "number", "steps_left", "trained_again"),
    [
        ("cache", 3, 18, ["readout", "suffix 2/4"]),
        ("step", 1, 18, ["readout", "suffix 2/4"]),
        ("checkpoint", 5, 14, ["readout", "suffix 2/4"]),  # the fifth step is taken, but not yet kept
        ("step", 6, 13, ["readout", "suffix 2/4"]),
        ("validation", 4, 9, ["readout", "suffix 2/4"]),  # all nine steps are kept, the last validation is not made
        ("candidate", 1, 9, ["suffix 2/4"]),
        ("step", 10, 9, ["suffix 2/4"]),
        ("step", 14, 5, ["suffix 2/4"]),
        ("candidate", 2, 0, []),
    ],
)
def test_a_run_that_is_killed_ends_like_one_that_is_not(
    bert, own_home, monkeypatch, whole, moment, number, steps_left, trained_again
):
    process = victim.start(victim.train_and_die, str(bert), SETTINGS, moment, number)
    assert victim.finish(process) == -signal.SIGKILL
    steps, trained = counting(monkeypatch)
    found = run(bert)
    assert same(tensors_of(found), whole)
    assert (len(steps), trained) == (steps_left, trained_again)
    assert left(own_home) == []


@pytest.mark.parametrize("number", [9, 14])
def test_a_run_that_is_killed_while_a_file_is_being_put_in_place_ends_like_one_that_is_not(
    bert, own_home, whole, number
):
    process = victim.start(victim.train_and_die, str(bert), SETTINGS, "rename", number)
    assert victim.finish(process) == -signal.SIGKILL
    assert any(path.suffix == ".part" for path in own_home.rglob("*"))
    assert same(tensors_of(run(bert)), whole)
    assert left(own_home) == []


def test_a_run_that_is_killed_twice_ends_like_one_that_is_not(bert, whole, monkeypatch):
    for number in (4, 5):
        assert victim.finish(victim.start(victim.train_and_die, str(bert), SETTINGS, "step", number)) == -signal.SIGKILL
    steps, _ = counting(monkeypatch)
    assert same(tensors_of(run(bert)), whole)
    assert len(steps) == 18 - 3 - 4


def test_seconds_spent_before_a_kill_are_counted(bert):
    assert victim.finish(victim.start(victim.train_and_die, str(bert), SETTINGS, "step", 9)) == -signal.SIGKILL
    (path,) = kept_files()
    before = position(path)["train_s"]
    found = run(bert)
    (readout,) = (c for c in found.candidates if c.variant == "readout")
    assert 0 < before < readout.train_s
    assert [seconds for seconds, _ in readout.curve] == sorted(seconds for seconds, _ in readout.curve)
    assert len(readout.curve) == 4


def kept_files():
    return sorted((home() / "runs").rglob("*.safetensors"))


def position(path):
    with safe_open(str(path), "pt") as file:
        return json.loads(file.metadata()["position"])


@pytest.mark.parametrize("change", [{"train.seed": 1}, {"train.learning_rate": 0.02}])
def test_other_settings_do_not_go_on_from_it(bert, monkeypatch, change):
    assert victim.finish(victim.start(victim.train_and_die, str(bert), SETTINGS, "step", 6)) == -signal.SIGKILL
    steps, _ = counting(monkeypatch)
    run(bert, **change)
    assert len(steps) == 2 * STEPS


@pytest.mark.parametrize("name", ["suffix-2-4.safetensors", "readout.done.safetensors"])
def test_what_is_damaged_is_set_aside_with_a_warning_and_trained_anew(bert, monkeypatch, whole, killed, caplog, name):
    (path,) = (path for path in kept_files() if path.name == name)
    path.write_bytes(path.read_bytes()[:-100])
    steps, trained = counting(monkeypatch)
    assert same(tensors_of(run(bert)), whole)
    (warning,) = caplog.messages
    assert "damaged" in warning and str(path) in warning
    anew = ["suffix 2/4"] if name.startswith("suffix") else ["readout", "suffix 2/4"]
    assert (len(steps), trained) == (9 if name.startswith("suffix") else 9 + 5, anew)


@pytest.fixture(scope="module")
def killed_home(bert, tmp_path_factory):
    """What a run leaves that is killed in the middle of its second candidate."""
    home = tmp_path_factory.mktemp("home")
    process = victim.start(victim.train_and_die, str(bert), SETTINGS, "step", 14, environment={"TSUGIKI_HOME": str(home)})
    assert victim.finish(process) == -signal.SIGKILL
    return home


@pytest.fixture
def killed(killed_home, own_home):
    shutil.copytree(killed_home, own_home)


# --- folders of runs -------------------------------------------------------------------------------------------------


def test_a_folder_of_a_run_is_gone_when_the_run_is_over(own_home):
    with run_folder("key") as folder:
        (folder / "file").touch()
        assert folder == own_home / "runs" / "key" and folder.stat().st_mode & 0o077 == 0
    assert list((own_home / "runs").iterdir()) == []


def test_a_folder_of_a_run_that_fails_is_found_again(own_home):
    with pytest.raises(RuntimeError), run_folder("key") as folder:
        (folder / "file").touch()
        raise RuntimeError
    with run_folder("key") as again:
        assert again == folder and (again / "file").exists()


def test_two_equal_runs_at_the_same_time_have_folders_of_their_own():
    with run_folder("key") as one, run_folder("key") as other:
        assert one != other and one.is_dir() and other.is_dir()
    with run_folder("key") as again:
        assert again == one


def test_what_nobody_went_on_with_for_a_month_is_removed_and_what_is_in_use_is_not(own_home):
    old = time.time() - 31 * 86_400
    with run_folder("used") as used:
        for name in ("left", "fresh"):
            with pytest.raises(RuntimeError), run_folder(name):
                raise RuntimeError
        for folder in (used, own_home / "runs" / "left"):
            os.utime(folder, (old, old))
        with run_folder("other"):
            assert sorted(path.name for path in (own_home / "runs").iterdir()) == ["fresh", "other", "used"]
