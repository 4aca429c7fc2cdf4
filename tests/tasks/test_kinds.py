"""What each task does that the others do not."""

import math

import pytest
import torch

from tsugiki.data.reading import Reading
from tsugiki.data.rows import Rows
from tsugiki.errors import ConfigError, RowsError
from tsugiki.tasks.kinds.classify import Classify
from tsugiki.tasks.kinds.grade import Grade
from tsugiki.tasks.kinds.tag import Tag
from tsugiki.tasks.task import task_for

TAG = Tag(labels=("a", "b", "c"))
GRADE = Grade(labels=("1", "2", "3", "4", "5"))


def test_mixed_classes_are_a_weighted_mean_of_log_probabilities():
    task, (states, words) = Classify(labels=("a", "b", "c")), torch.randn(2, 4, 3)
    # What is added to all classes alike counts for nothing.
    assert torch.allclose(task.mix(states + 5.0, words - 3.0, 0.3), task.mix(states, words, 0.3), atol=1e-6)


# --- grades


def test_a_grade_is_the_median_and_not_the_mode():
    shares = torch.tensor([[0.3, 0.02, 0.02, 0.28, 0.38], [0.4, 0.0, 0.2, 0.2, 0.2]])
    assert GRADE.names(GRADE.choose(shares.log())) == ["4", "3"]


def test_the_median_errs_by_fewer_grades_than_any_other_answer():
    shares = torch.rand(50, 5, generator=torch.Generator().manual_seed(0))
    shares /= shares.sum(-1, keepdim=True)
    distance = (torch.arange(5)[:, None] - torch.arange(5)).abs().float()
    expected = shares @ distance
    chosen = expected[torch.arange(50), GRADE.choose(shares.log())]
    assert torch.allclose(chosen, expected.min(-1).values, atol=1e-5)


def test_a_near_miss_is_better_than_a_far_one():
    found = GRADE.agreement(["1", "1", "1", "9"], ["1", "2", "5", "1"])
    assert found.tolist() == [1.0, 0.75, 0.0, 0.0]
    scores = GRADE.scores(["1", "3", "5"], ["2", "3", "5"])
    assert scores["mean_error_grades"] == pytest.approx(1 / 3) and 0.8 < scores["weighted_kappa"] < 1


def test_numbers_are_in_their_order_and_words_in_the_given_one():
    numbers = Rows(("x",) * 3, ("10", "9", "-1.5"))
    assert task_for(numbers, Reading(task="grade")).labels == ("-1.5", "9", "10")
    words = Rows(("x",) * 2, ("low", "high"))
    assert task_for(words, Reading(grades=("low", "middle", "high"))) == Grade(labels=("low", "middle", "high"))
    with pytest.raises(RowsError) as caught:
        task_for(words, Reading(task="grade"))
    assert caught.value.code == "data.no_order" and "low" in str(caught.value)
    with pytest.raises(RowsError) as caught:
        task_for(words, Reading(grades=("low", "middle")))
    assert caught.value.code == "data.strange_grade" and "high" in str(caught.value)


# --- tags


def test_what_labels_are_follows_from_the_rows_or_from_the_user():
    assert isinstance(task_for(Rows(("x",), ("a;b",), several=True), Reading()), Tag)
    assert isinstance(task_for(Rows(("x",), ("a;b",)), Reading()), Classify)
    with pytest.raises(ConfigError, match="classify, grade, tag"):
        task_for(Rows(("x",), ("a",)), Reading(task="tags"))


def test_each_row_has_any_number_of_labels():
    targets = TAG.targets(["b; a", "", "c", "z"])
    assert TAG.names(targets) == ["a;b", "", "c", ""]
    assert TAG.indicator(targets).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert TAG.agreement(["a;b", "a;b", "", "", "z"], ["a;b", "a", "", "c", ""]).tolist() == pytest.approx(
        [1, 2 / 3, 1, 0, 0]
    )


def test_the_probability_of_an_answer_is_that_of_all_its_parts():
    logits = torch.tensor([[2.0, -3.0, 0.1]])
    found = TAG.answers(logits)
    a, b, c = logits.sigmoid()[0].tolist()
    assert TAG.names(found.best) == ["a;c"] and TAG.names(found.runner_up) == ["a"]
    assert found.probability.item() == pytest.approx(a * (1 - b) * c)
    assert found.runner_up_probability.item() == pytest.approx(a * (1 - b) * (1 - c))


def test_a_threshold_is_found_where_validation_says_so():
    generator = torch.Generator().manual_seed(0)
    truth = (torch.rand(400, 3, generator=generator) < 0.2).float()
    # Right in order, but shy: what is true reaches no more than 0.3.
    logits = torch.logit(0.05 + 0.25 * truth) + 0.2 * torch.randn(400, 3, generator=generator)
    targets = torch.nn.functional.pad(truth, (0, 1))
    fitted = TAG.fitted(logits, targets)
    assert all(0.08 < threshold < 0.28 for threshold in fitted.thresholds)
    assert TAG.measure(logits, targets)[0] < 0.7 < 0.95 < fitted.measure(logits, targets)[0]
    assert fitted.scores(TAG.names(targets), fitted.names(fitted.choose(logits)))["micro_f1"] > 0.95


def test_a_label_of_one_row_keeps_a_threshold_near_one_half():
    targets = TAG.targets(["a", "", "", ""])
    logits = torch.tensor([[3.0, -1, -1], [-3.0, -1, -1], [-3.0, -1, -1], [-3.0, -1, -1]])
    assert TAG.fitted(logits, targets).thresholds[0] == pytest.approx(0.5, abs=0.05)
    assert all(0 < t < 1 and math.isfinite(t) for t in TAG.fitted(logits, targets).thresholds)


def test_a_label_that_validation_lacks_keeps_a_high_threshold():
    logits = torch.logit(torch.tensor([[0.02, 0.01, 0.004], [0.01, 0.018, 0.02]]))
    assert all(threshold > 0.5 for threshold in TAG.fitted(logits, TAG.targets(["", ""])).thresholds)


def test_a_label_that_is_ranked_badly_is_rather_never_answered():
    chance = torch.linspace(0.4, 0.01, 100)
    targets = TAG.targets(["a" if i == 40 else "" for i in range(100)])
    logits = torch.logit(chance)[:, None].expand(-1, 3)
    assert TAG.fitted(logits, targets).thresholds[0] > 0.5


def test_thresholds_have_to_fit_the_labels():
    with pytest.raises(ValueError, match="1 thresholds for 3 labels"):
        Tag(labels=("a", "b", "c"), thresholds=(0.5,))
