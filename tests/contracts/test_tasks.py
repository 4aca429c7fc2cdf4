"""What holds for every task, of ours or of anybody's: learnable, answerable, judged."""

import numpy
import pytest
import torch

from tsugiki.tasks.task import TASKS, Task, task_of

LABELS = ("1", "2", "3", "4")


@pytest.fixture(params=TASKS.names())
def task(request) -> Task:
    return TASKS.load(request.param).of(LABELS, ())


@pytest.fixture
def logits():
    return 2 * torch.randn(60, len(LABELS), generator=torch.Generator().manual_seed(0))


def test_labels_survive_being_targets(task, logits):
    names = task.names(task.choose(logits))
    assert task.names(task.targets(names)) == names


def test_what_is_answered_is_wholly_right_to_itself_and_no_match_leaves_its_range(task, logits):
    chosen = task.choose(logits)
    assert task.match(chosen, chosen).eq(1).all()
    others = task.match(chosen, chosen.roll(1, 0))
    assert others.ge(0).all() and others.le(1).all() and others.lt(1).any()


def test_the_slope_is_the_gradient_of_the_losses(task, logits):
    targets = task.choose(logits.roll(1, 0))
    losses, slope = task.slope(logits, targets)
    expected_losses, expected = Task.slope(task, logits, targets)
    assert torch.allclose(losses, expected_losses, atol=1e-5) and torch.allclose(slope, expected, atol=1e-5)


def test_following_the_slope_leads_to_the_answers(task, logits):
    targets = task.choose(logits)
    found = torch.zeros_like(logits)
    for _ in range(300):
        found -= 2.0 * task.slope(found, targets)[1]
    assert task.measure(found, targets)[0] == 1.0
    assert task.measure(found, targets)[1] < 0.1 < task.measure(torch.zeros_like(logits), targets)[1]


def test_the_prior_is_the_best_that_can_be_said_without_reading(task, logits):
    targets = task.choose(logits)
    prior = task.prior(targets).expand_as(logits)
    least = task.losses(prior, targets).mean()
    for at in range(len(LABELS)):
        moved = prior.clone()
        moved[:, at] += 0.5
        assert task.losses(moved, targets).mean() > least


def test_answers_are_what_is_chosen_and_their_probabilities_are_some(task, logits):
    found = task.answers(logits)
    assert found.best.equal(task.choose(logits))
    for probability in (found.probability, found.runner_up_probability):
        assert probability.ge(0).all() and probability.le(1).all()
    assert (found.probability + found.runner_up_probability).le(1 + 1e-5).all()
    pairs = zip(task.names(found.best), task.names(found.runner_up), strict=True)
    assert all(first != second for first, second in pairs)


def test_a_mixture_goes_from_one_source_to_the_other(task, logits):
    other = logits.flip(0)
    for share, alone in ((0.0, logits), (1.0, other)):
        assert task.choose(task.mix(logits, other, share)).equal(task.choose(alone))


def test_a_label_that_training_lacks_is_never_right(task):
    strange, own = task.targets(["9"]), task.targets(["1"])
    assert task.match(own, strange).item() < 1
    assert task.known(own).all()


def test_no_rows_have_no_answers(task):
    nothing = torch.zeros(0, len(LABELS))
    assert task.names(task.answers(nothing).best) == []
    assert task.fitted(nothing, task.targets([])) == task


def test_the_lines_for_other_programs_give_the_same_answers(task, logits):
    fitted = task.fitted(logits, task.choose(logits.roll(1, 0)))
    known = {"numpy": numpy, "logits": logits.numpy(), "task": fitted.settings()}
    exec("\n".join(task.elsewhere), known)
    assert known["answers"] == fitted.names(fitted.choose(logits))


def test_a_task_survives_its_manifest(task, logits):
    fitted = task.fitted(logits, task.choose(logits.roll(1, 0)))
    assert task_of({**fitted.settings(), "max_length": 256}) == fitted
