import copy
import math
import time
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from tests.support.runs import TASK, easy_splits, labelled, readout_plan, suffix_plan, tiny_base
from tsugiki.adapt.adapted import AdaptedModel
from tsugiki.base.model import Base
from tsugiki.errors import TrainingError
from tsugiki.placement.plan import head_states
from tsugiki.train import loop
from tsugiki.train.checkpoint import Checkpoint
from tsugiki.train.config import TrainSettings
from tsugiki.train.heads import head_candidate
from tsugiki.train.loop import scores
from tsugiki.train.scion import Scion
from tsugiki.train.track import Track


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Base, training and validation rows, shared: nothing trained may change them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSUGIKI_HOME", str(tmp_path_factory.mktemp("home")))
        base, splits = tiny_base(), easy_splits()
        return SimpleNamespace(base=base, train=labelled(base, splits.train), held=labelled(base, splits.validation))


@pytest.fixture
def race(rows, tmp_path):
    """A race over the shared rows, by settings."""

    def started(**settings):
        usual = {"epochs": 2, "batch_rows": 16, "learning_rate": 0.01, "head_learning_rate": 0.01, "seed": 5}
        made = TrainSettings(**{**usual, **settings})
        folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        return Track(rows.base, rows.train, rows.held, made, folder)

    return started


def trained(race, plan=None, start=None, to_beat=0.0, **settings):
    started = race(**settings)
    return started.run(plan or suffix_plan(started.base), start, to_beat)


@pytest.fixture
def graft(rows, race):
    """A scion on the shared base as a run begins with it, or with every parameter random; taken off in the end."""
    attached = []

    def made(plan=None, random=False):
        plan = plan or suffix_plan(rows.base)
        adapted = AdaptedModel(rows.base.model, rows.base.anatomy)
        attached.append(adapted)
        scion = Scion(adapted, plan.grafts, race().classifier(plan, None), race().settings.seed)
        if random:
            chance = torch.Generator().manual_seed(0)
            for parameter in scion.parameters():
                torch.nn.init.normal_(parameter, std=0.1, generator=chance)
        return scion

    yield made
    for adapted in attached:
        adapted.detach()


def modules_of(scion):
    return {f"modules.{name}": tensor for name, tensor in scion._adapted.tensors("scion").items()}


def equal(one, other):
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


def scripted(monkeypatch, *found):
    """Validation that finds what it is told to; returns the parameters it was shown each time."""
    seen, told = [], iter(found)

    def look(scion):
        seen.append(copy.deepcopy(scion.state_dict()))
        return next(told)

    monkeypatch.setattr(loop.Labelled, "measure", lambda _, scion: look(scion))
    return seen


# --- what is random, and what is not ---------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", ["suffix", "readout"])
def test_equal_seeds_give_equal_tensors_and_another_seed_does_not(race, rows, plan):
    plan = suffix_plan(rows.base) if plan == "suffix" else readout_plan()
    one, other, third = (trained(race, plan, seed=seed, module_dropout=0.3) for seed in (1, 1, 2))
    assert equal(one.tensors, other.tensors) and one.logits.equal(other.logits)
    assert not one.logits.equal(third.logits)


def test_training_changes_every_tensor_that_is_trained(race, graft, monkeypatch):
    scripted(monkeypatch, *((n / 10, 1.0) for n in range(9)))
    found = trained(race).tensors
    fresh = graft()
    assert len(modules_of(fresh)) == 6
    for name, tensor in modules_of(fresh).items():
        assert not tensor.equal(found[name]), name
    weight, bias = fresh.classifier.folded()
    assert not weight.equal(found["head.weight"]) and not bias.equal(found["head.bias"])


def test_training_teaches_the_rows(race):
    # Behind a head of zeros the modules have nothing to go by at first.
    found = trained(race, epochs=12, patience=12, module_dropout=0.0)
    assert found.score > found.curve[0][1] + 0.3


def test_the_random_state_of_torch_is_neither_read_nor_changed(race):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = trained(race, module_dropout=0.5)
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(2)
    assert equal(one.tensors, trained(race, module_dropout=0.5).tensors)


def test_module_dropout_is_drawn_anew_for_each_step_and_seed(race, monkeypatch):
    drawn = []

    def draw(self, dropout, generator=None):
        drawn.append((dropout, generator and generator.initial_seed()))

    monkeypatch.setattr(Scion, "set_training", draw)
    for seed in (1, 1, 2):
        trained(race, seed=seed, epochs=1, module_dropout=0.5)
    steps = [seed for dropout, seed in drawn if dropout is not None]
    third = len(steps) // 3
    assert third > 2 and len(set(steps)) == 2 * third and steps[:third] == steps[third : 2 * third]


def test_module_dropout_acts_in_steps_and_never_in_validation(graft, rows):
    scion = graft(random=True)
    still = scores(scion, rows.held.rows)
    scion.set_training(0.99, torch.Generator().manual_seed(0))
    dropped = scion(rows.held.rows, list(range(15)))
    assert not torch.allclose(dropped, still, atol=1e-3)
    assert scores(scion, rows.held.rows).equal(still)


def test_training_leaves_the_base_bit_for_bit_and_without_a_hook(race, rows):
    before = copy.deepcopy(rows.base.model.state_dict())
    trained(race)
    assert equal(before, rows.base.model.state_dict())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in rows.base.model.modules())
    assert all(parameter.grad is None for parameter in rows.base.model.parameters())


def test_a_run_that_fails_leaves_the_base_without_a_hook(race, rows, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "step", fail)
    with pytest.raises(KeyboardInterrupt):
        trained(race)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in rows.base.model.modules())


# --- the loss, the rate, the decay -----------------------------------------------------------------------------------


def test_one_step_is_adam_on_the_mean_loss_of_the_batch(race, graft, rows, monkeypatch):
    # Adam makes much of a gradient next to zero: the same sums in the same order.
    monkeypatch.setattr(Base, "step_tokens", 10_000)
    scripted(monkeypatch, (0.0, 9.0), (1.0, 1.0))
    settings = {"epochs": 1, "batch_rows": 48, "batch_tokens": 10_000, "warmup_share": 0.0, "module_dropout": 0.0}
    found = trained(race, **settings, weight_decay=0.0)

    scion = graft()
    optimiser = torch.optim.Adam(scion.parameters(), lr=0.01)
    (batch,) = loop.batches_of(rows.train.rows.lengths, race(**settings).settings, 0)
    torch.nn.functional.cross_entropy(scion(rows.train.rows, batch), rows.train.targets[batch]).backward()
    optimiser.step()
    for name, tensor in modules_of(scion).items():
        assert torch.allclose(tensor, found.tensors[name], atol=1e-6), name
    weight, bias = scion.classifier.folded()
    assert torch.allclose(weight, found.tensors["head.weight"], atol=1e-6)
    assert torch.allclose(bias, found.tensors["head.bias"], atol=1e-6)


# Row by row, and in parts of a few rows.
@pytest.mark.parametrize("step_tokens", [1, 64])
def test_the_gradient_of_a_batch_in_parts_is_that_of_the_whole(race, graft, rows, monkeypatch, step_tokens):
    settings, batch = race(module_dropout=0.0).settings, list(range(48))

    def gradients(tokens):
        monkeypatch.setattr(Base, "step_tokens", tokens)
        scion = graft(random=True)
        loop.step(scion, scion, rows.train, batch, settings, 0, Accelerator())
        return [p.grad for p in scion.parameters()]

    whole, parts = gradients(10_000), gradients(step_tokens)
    assert all(torch.allclose(one, other, rtol=1e-4, atol=1e-6) for one, other in zip(whole, parts, strict=True))


def test_every_row_is_trained_on_once_in_each_epoch_in_a_new_order(rows):
    settings = TrainSettings(batch_rows=5, batch_tokens=64)
    epochs = [loop.batches_of(rows.train.rows.lengths, settings, epoch) for epoch in range(3)]
    for batches in epochs:
        assert sorted(row for batch in batches for row in batch) == list(range(48))
        assert all(loop.padded(rows.train.rows, batch) <= 64 and len(batch) <= 5 for batch in batches)
    assert epochs[0] != epochs[1] != epochs[2]
    assert loop.batches_of(rows.train.rows.lengths, settings, 1) == epochs[1]


@pytest.mark.parametrize("step_tokens", [1, 25, 64, 10_000])
def test_no_more_tokens_go_forward_and_back_at_once_than_there_is_room_for(rows, monkeypatch, step_tokens):
    monkeypatch.setattr(Base, "step_tokens", step_tokens)
    (batch,) = loop.batches_of(rows.train.rows.lengths, TrainSettings(batch_rows=48, batch_tokens=10_000), 0)
    parts = loop.parts_of(rows.train.rows, batch)
    assert [row for part in parts for row in part] == batch
    assert all(len(part) == 1 or loop.padded(rows.train.rows, part) <= step_tokens for part in parts)
    assert (len(parts) == 1) == (step_tokens == 10_000)


def test_the_rate_rises_to_its_peak_and_falls_to_zero():
    rates = [loop._rate(step, 100, 0.1) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == 1.0
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(0.5) and rates[100] == pytest.approx(0.0)


@pytest.mark.parametrize(("total", "share"), [(1, 0.0), (1, 0.9), (2, 0.5), (3, 0.99)])
def test_the_rate_of_a_short_run_is_never_zero_in_a_step(total, share):
    assert all(0 < loop._rate(step, total, share) <= 1 for step in range(total))


@pytest.mark.parametrize(("slow", "still"), [("learning_rate", "modules"), ("head_learning_rate", "head")])
def test_modules_and_head_have_rates_of_their_own(race, rows, monkeypatch, slow, still):
    # Behind a head of zeros that does not move, modules would have no gradient.
    start = head_candidate(rows.train, rows.held, head_states(4)).start
    scripted(monkeypatch, *((n / 10, 1.0) for n in range(9)))
    once, longer = (trained(race, start=start, weight_decay=0.0, epochs=n, **{slow: 1e-12}).tensors for n in (1, 3))
    moved = {name: float((once[name] - longer[name]).abs().max()) for name in once if name != "logits"}
    assert len(moved) == 8
    assert all((moved[name] < 1e-6) == name.startswith(still) for name in moved), moved


def test_weight_decay_pulls_modules_towards_no_change_and_spares_the_head(race, monkeypatch):
    def sizes(decay):
        scripted(monkeypatch, *((n / 10, 1.0) for n in range(9)))
        found = trained(race, epochs=6, module_dropout=0.0, weight_decay=decay).tensors
        changes = [(found[f"modules.{layer}.residual.{part}"]).norm() for layer in (2, 3) for part in ("down", "up")]
        return math.prod(map(float, changes)), float(found["head.weight"].norm())

    (free, head), (decayed, other_head) = sizes(0.0), sizes(20.0)
    assert decayed < 0.2 * free
    assert other_head > 0.5 * head


# --- early stopping --------------------------------------------------------------------------------------------------


def test_the_best_epoch_is_kept_and_patience_ends_the_run(race, monkeypatch):
    shares = [0.1, 0.5, 0.9, 0.8, 0.9, 0.8, 0.95]
    seen = scripted(monkeypatch, *((share, 1.0) for share in shares))
    found = trained(race, epochs=20, patience=3)
    assert [share for _, share in found.curve] == shares[:6]
    assert found.score == 0.9 and len(seen) == 6
    kept = [tensor for name, tensor in found.tensors.items() if name.startswith("modules")]
    shown = [[tensor for name, tensor in state.items() if name.startswith("banks")] for state in seen]
    assert [all(any(k.equal(s) for s in state) for k in kept) for state in shown] == [n == 2 for n in range(6)]


def test_between_equal_shares_the_lower_loss_is_better(race, monkeypatch):
    scripted(monkeypatch, (0.5, 1.0), (0.5, 0.4), (0.5, 0.6), (0.5, 0.4))
    found = trained(race, epochs=3)
    assert (found.score, found.loss) == (0.5, 0.4)


def test_where_training_only_harms_what_it_began_with_is_kept(race, monkeypatch):
    scripted(monkeypatch, (0.9, 1.0), (0.2, 1.0), (0.1, 1.0), (0.1, 1.0))
    found = trained(race, patience=2, epochs=9)
    assert found.score == 0.9 and len(found.curve) == 4
    assert all(tensor.abs().max() == 0 for name, tensor in found.tensors.items() if name.endswith(".up"))


def test_modules_may_disturb_the_head_they_start_from_before_they_help(race, monkeypatch):
    scripted(monkeypatch, *((share, 1.0) for share in (0.7, 0.4, 0.5, 0.6, 0.8)))
    assert trained(race, patience=2, epochs=4).score == 0.8


def test_a_run_that_is_far_behind_after_half_of_its_epochs_is_given_up(race, monkeypatch):
    shares = [0.1, 0.2, 0.5, 0.6, 0.7, 0.8, 0.9]
    for to_beat, epochs in ((0.64, 6), (0.66, 3), (0.9, 3)):
        scripted(monkeypatch, *((share, 1.0) for share in shares))
        found = trained(race, epochs=6, to_beat=to_beat)
        assert [share for _, share in found.curve] == shares[: epochs + 1]


# --- the clock -------------------------------------------------------------------------------------------------------


def test_validation_is_not_on_the_clock(race, monkeypatch):
    def slow(held, scion):
        time.sleep(0.4)
        return 0.5, 1.0

    monkeypatch.setattr(loop.Labelled, "measure", slow)
    began = time.perf_counter()
    found = trained(race)
    assert time.perf_counter() - began > 1.2
    assert 0 < found.train_s < 0.6


def test_every_step_is_on_the_clock(race, monkeypatch):
    step = loop.step

    def slow(*arguments):
        time.sleep(0.05)
        step(*arguments)

    monkeypatch.setattr(loop, "step", slow)
    found = trained(race, epochs=2, batch_rows=8)
    steps = 2 * len(loop.batches_of(race().train.rows.lengths, TrainSettings(batch_rows=8), 0))
    assert steps >= 12 and 0.05 * steps < found.train_s < 0.05 * steps + 1.0
    assert [seconds for seconds, _ in found.curve] == sorted(seconds for seconds, _ in found.curve)
    assert 0.0 < found.curve[0][0] < 1.0 and found.curve[-1][0] == pytest.approx(found.train_s)
    assert found.predicted_s == pytest.approx(found.train_s, rel=0.5)


# --- what is not a number --------------------------------------------------------------------------------------------


def poisoned(monkeypatch, at, gradient_only=False):
    """From the training step `at` on the loss, or its gradient alone, is not a number."""
    calls = []
    forward = Scion.forward

    def run(self, rows, indices):
        logits = forward(self, rows, indices)
        if logits.requires_grad:
            calls.append(1)
            if len(calls) > at and gradient_only:
                logits.register_hook(lambda gradient: gradient * math.inf)
            elif len(calls) > at:
                return logits * math.nan
        return logits

    monkeypatch.setattr(Scion, "forward", run)


@pytest.mark.parametrize("gradient_only", [False, True])
def test_a_loss_that_is_not_a_number_ends_the_run_and_keeps_the_last_good_step(race, graft, monkeypatch, gradient_only):
    good = []
    step = loop.step

    def watched(model, scion, *rest):
        good.append(copy.deepcopy(scion.state_dict()))
        step(model, scion, *rest)

    monkeypatch.setattr(loop, "step", watched)
    poisoned(monkeypatch, 4, gradient_only)
    started = race(epochs=3)
    with pytest.raises(TrainingError) as caught:
        started.run(suffix_plan(started.base), None, 0.0)
    assert caught.value.code == "train.not_a_number"
    assert caught.value.facts["step"] == 4 and caught.value.facts["rate"] == 0.01
    assert "train.learning_rate=0.003" in str(caught.value)

    monkeypatch.undo()
    scion = graft()
    optimiser = torch.optim.AdamW(scion.groups(0.01, 0.01, 0.01, 0.01))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1.0)
    (kept,) = started.folder.glob("*.safetensors")
    at = Checkpoint(started.folder, kept.stem).resume(scion, optimiser, schedule)
    assert at is not None and at.step == 4
    assert equal(scion.state_dict(), good[4]) and not equal(good[4], good[3])
    assert all(tensor.isfinite().all() for tensor in scion.state_dict().values())


def test_after_such_an_end_a_mended_run_goes_on_from_the_last_good_step(race, monkeypatch):
    whole = trained(race, epochs=3)
    started = race(epochs=3)
    with monkeypatch.context() as patch, pytest.raises(TrainingError):
        poisoned(patch, 4)
        started.run(suffix_plan(started.base), None, 0.0)
    assert equal(started.run(suffix_plan(started.base), None, 0.0).tensors, whole.tensors)


# --- scores ----------------------------------------------------------------------------------------------------------


def test_a_row_of_a_class_that_training_lacks_counts_as_wrong():
    logits = torch.tensor([[2.0, 0.0, -99.0], [0.0, 2.0, -99.0], [2.0, 0.0, -99.0]])
    share, loss = TASK.measure(logits, torch.tensor([0, 1, -1]))
    assert share == pytest.approx(2 / 3) and loss == pytest.approx(math.log(1 + math.exp(-2)))
    assert TASK.measure(logits, torch.tensor([-1, -1, -1])) == (0.0, math.inf)


def test_scores_do_not_depend_on_the_company_of_a_row(graft, rows):
    scion = graft(random=True)
    together = scores(scion, rows.held.rows)
    alone = torch.cat([scion(rows.held.rows, [row]) for row in range(15)])
    assert torch.allclose(together, alone, atol=1e-4)
    assert rows.held.measure(scion) == TASK.measure(together, rows.held.targets)


@pytest.mark.parametrize("boundary", [0, 1, 3])
def test_logits_and_gradients_over_the_cache_are_those_without_it(rows, graft, boundary):
    indices = [0, 5, 9, 30]
    found = []
    for without in (False, True):
        cached = copy.copy(rows.train.rows)
        cached.stored = {} if without else cached.stored
        scion = graft(suffix_plan(rows.base, boundary), random=True)
        logits = scion(cached, indices)
        logits.square().sum().backward()
        found.append([logits.detach(), *(p.grad for p in scion.parameters())])
    for one, other in zip(*found, strict=True):
        assert one.abs().max() > 0 and torch.allclose(one, other, rtol=1e-3, atol=1e-4)


# --- trackers --------------------------------------------------------------------------------------------------------


def test_tensorboard_gets_the_curves_and_keeps_them_when_the_run_is_over(race, own_home):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    started = race(trackers=("tensorboard",))
    found = started.run(suffix_plan(started.base), None, 0.0)
    files = list(own_home.rglob("events.out.tfevents*"))
    assert files and not any(file.is_relative_to(started.folder) for file in files)
    curves: dict[str, list[float]] = {}
    for file in files:
        events = EventAccumulator(str(file)).Reload()
        curves |= {tag: [point.value for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert curves["suffix 2/4/score"] == pytest.approx([share for _, share in found.curve[1:]])
    assert len(curves["suffix 2/4/loss"]) == 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # what mlflow calls in its own libraries is its affair
def test_mlflow_gets_the_curves_and_keeps_them_at_home(race, own_home, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    started = race(trackers=("mlflow",))
    found = started.run(suffix_plan(started.base), None, 0.0)
    runs = mlflow.search_runs(search_all_experiments=True)
    assert list(runs["metrics.suffix 2/4/score"]) == pytest.approx([found.curve[-1][1]])
    assert (own_home / "tracks" / "mlflow.db").is_file()


def test_without_trackers_nothing_is_written_but_the_result(race, own_home):
    started = race()
    started.run(suffix_plan(started.base), None, 0.0)
    assert [path.name for path in started.folder.iterdir()] == ["suffix-2-4.done.safetensors"]
    assert not (own_home / "tracks").exists()


def test_many_rows_are_scored_batch_by_batch_in_their_order(rows, graft, monkeypatch):
    scion = graft(random=True)
    at_once = scores(scion, rows.train.rows)
    monkeypatch.setattr(Base, "batch_tokens", 30)
    assert torch.allclose(scores(scion, rows.train.rows), at_once, atol=1e-5)
    assert len({tuple(row) for row in at_once.tolist()}) == 48
