"""A run that is killed goes on exactly where it was, and damaged or missing files cost time alone."""

import json
import os
import shutil
import signal
import time
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open

from tests.support import victim
from tests.support.runs import easy_splits, quick_config
from tsugiki.home import home
from tsugiki.train import loop, track
from tsugiki.train.folder import run_folder
from tsugiki.train.run import train_adapter

# A checkpoint after every step; every draw of dropout counts; no run ends early.
SETTINGS = {"train.checkpoint_s": 1e-9, "train.module_dropout": 0.3, "train.epochs": 3, "train.patience": 99}

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no signals")


def run(base, **settings):
    return train_adapter(easy_splits(), quick_config(base, **{**SETTINGS, **settings}))


def killed_at(base, moment, number, **environment):
    process = victim.start(victim.train_and_die, str(base), SETTINGS, moment, number, environment=environment)
    assert victim.finish(process) == -signal.SIGKILL


def tensors_of(trained):
    return {c.variant: {**c.tensors, "logits": c.logits} for c in trained.candidates}


def same(one, other):
    return one.keys() == other.keys() and all(
        one[variant].keys() == other[variant].keys()
        and all(torch.equal(one[variant][name], other[variant][name]) for name in one[variant])
        for variant in one
    )


def counting(monkeypatch):
    """From here on, the candidates that are trained, each as often as it takes a step, and all that are begun."""
    steps, begun = [], []
    step, train = loop.step, track.Track._train

    def begin(self, plan, *rest):
        begun.append(plan.variant)
        return train(self, plan, *rest)

    def take(*arguments):
        steps.append(begun[-1])
        step(*arguments)

    monkeypatch.setattr(loop, "step", take)
    monkeypatch.setattr(track.Track, "_train", begin)
    return steps, begun


def left(home):
    return sorted(p.name for p in (home / "runs").rglob("*") if p.is_file())


@pytest.fixture(scope="module")
def whole(bert, tmp_path_factory):
    """An uninterrupted run: its tensors, its steps by candidate and its candidates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSUGIKI_HOME", str(tmp_path_factory.mktemp("home")))
        steps, begun = counting(patch)
        tensors = tensors_of(run(bert))
    assert len(begun) >= 2 and steps.count(begun[0]) == 9 and len(steps) > 14
    return SimpleNamespace(tensors=tensors, steps=steps, begun=begun)


@pytest.mark.parametrize(
    ("moment", "number", "kept"),
    [
        ("cache", 3, 0),
        ("step", 1, 0),
        ("checkpoint", 5, 4),  # the fifth step is taken, but not yet kept
        ("step", 6, 5),
        ("validation", 4, 9),  # all steps of the first candidate are kept, its last validation is not made
        ("candidate", 1, 9),
        ("step", 14, 13),
    ],
)
def test_a_run_that_is_killed_ends_like_one_that_is_not(bert, own_home, monkeypatch, whole, moment, number, kept):
    killed_at(bert, moment, number)
    steps, begun = counting(monkeypatch)
    assert same(tensors_of(run(bert)), whole.tensors)
    assert steps == whole.steps[kept:]
    # What was finished before the kill is not trained again.
    assert begun == (whole.begun[1:] if kept > 9 or moment == "candidate" else whole.begun)
    assert left(own_home) == []


def test_a_run_that_is_killed_when_all_is_trained_takes_no_step(bert, whole, monkeypatch):
    killed_at(bert, "candidate", len(whole.begun))
    steps, begun = counting(monkeypatch)
    assert same(tensors_of(run(bert)), whole.tensors) and (steps, begun) == ([], [])


@pytest.mark.parametrize("number", [9, 14])
def test_a_run_that_is_killed_while_a_file_is_being_put_in_place_ends_like_one_that_is_not(
    bert, own_home, whole, number
):
    killed_at(bert, "rename", number)
    assert any(path.suffix == ".part" for path in own_home.rglob("*"))
    assert same(tensors_of(run(bert)), whole.tensors)
    assert left(own_home) == []


def test_a_run_that_is_killed_twice_ends_like_one_that_is_not(bert, whole, monkeypatch):
    for number in (4, 5):
        killed_at(bert, "step", number)
    steps, _ = counting(monkeypatch)
    assert same(tensors_of(run(bert)), whole.tensors)
    assert steps == whole.steps[3 + 4 :]


def test_seconds_spent_before_a_kill_are_counted(bert):
    killed_at(bert, "step", 9)
    (path,) = kept_files()
    before = position(path)["train_s"]
    (first, *_) = (c for c in run(bert).candidates if len(c.curve) > 1)
    assert 0 < before < first.train_s
    assert [seconds for seconds, _ in first.curve] == sorted(seconds for seconds, _ in first.curve)
    assert len(first.curve) == 4


def kept_files():
    return sorted((home() / "runs").rglob("*.safetensors"))


def position(path):
    with safe_open(str(path), "pt") as file:
        return json.loads(file.metadata()["position"])


@pytest.mark.parametrize("change", [{"train.seed": 1}, {"placement.form": {"kind": "bottleneck", "rank": 8}}])
def test_other_settings_do_not_go_on_from_it(bert, monkeypatch, whole, killed, change):
    _, begun = counting(monkeypatch)
    monkeypatch.setattr(loop, "step", lambda *_: pytest.fail("enough"))
    with pytest.raises(pytest.fail.Exception):
        run(bert, **change)
    assert begun == whole.begun[:1]


@pytest.mark.parametrize("kept", [9, 0])
def test_what_is_damaged_is_set_aside_with_a_warning_and_trained_anew(bert, monkeypatch, whole, killed, caplog, kept):
    (path,) = (path for path in kept_files() if (".done." in path.name) == (kept == 0))
    path.write_bytes(path.read_bytes()[:-100])
    steps, begun = counting(monkeypatch)
    assert same(tensors_of(run(bert)), whole.tensors)
    (warning,) = caplog.messages
    assert "damaged" in warning and str(path) in warning
    # The second candidate is trained anew; or the first one, and the second goes on.
    assert steps == (whole.steps[9:] if kept else whole.steps[:9] + whole.steps[13:])
    assert begun == (whole.begun[1:] if kept else whole.begun)


@pytest.fixture(scope="module")
def killed_home(bert, tmp_path_factory):
    """What a run leaves that is killed in the middle of its second candidate."""
    home = tmp_path_factory.mktemp("home")
    killed_at(bert, "step", 14, TSUGIKI_HOME=str(home))
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
