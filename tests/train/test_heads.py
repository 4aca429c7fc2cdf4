"""Candidates without steps: what they choose, with and without rows to choose by."""

import math
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tests.support.runs import TASK, easy_splits, labelled, tiny_base
from tsugiki.data.lexicon import STRENGTHS, Lexicon
from tsugiki.data.rows import Rows
from tsugiki.tasks.kinds.classify import Classify
from tsugiki.train import heads
from tsugiki.train.head import PENALTIES, fit_path
from tsugiki.train.heads import features_of, head_candidate, joined, middle, words_candidate
from tsugiki.train.loop import Labelled

STATES = (1, 2, 4)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSUGIKI_HOME", str(tmp_path_factory.mktemp("home")))
        base, splits = tiny_base(), easy_splits()
        none = Rows((), ())
        found = {name: labelled(base, part) for name, part in (("train", splits.train), ("none", none))}
        return SimpleNamespace(splits=splits, held=labelled(base, splits.validation), **found)


def words_of(rows, held=True):
    texts = rows.splits.validation.texts if held else ()
    return words_candidate(rows.splits.train.texts, rows.train, texts, rows.held if held else rows.none, seed=0)


def test_the_head_has_the_penalty_that_does_best_on_validation(rows):
    found = head_candidate(rows.train, rows.held, STATES)
    fitted = fit_path(features_of(rows.train, STATES), rows.train.targets, rows.train.task)
    tried = [TASK.measure(head.scores(features_of(rows.held, STATES)), rows.held.targets) for head in fitted]
    assert (found.score, -found.loss) == max((score, -loss) for score, loss in tried)
    assert TASK.measure(found.logits, rows.held.targets) == (found.score, found.loss)
    assert found.placement.boundary == found.placement.exit == 4 and found.head.states == STATES
    assert len({round(loss, 6) for _, loss in tried}) > 1


def test_without_rows_to_choose_by_the_head_has_a_middle_penalty_and_no_score(rows):
    found = head_candidate(rows.train, rows.none, STATES)
    fitted = fit_path(features_of(rows.train, STATES), rows.train.targets, rows.train.task)
    assert found.tensors["head.weight"].equal(fitted[len(PENALTIES) // 2].weight)
    assert math.isnan(found.score) and found.facts()["score"] is None and found.logits.shape == (0, 3)


def test_without_rows_to_choose_by_words_have_a_middle_strength_and_no_score(rows):
    found = words_of(rows, held=False)
    middle_one = middle(STRENGTHS)
    assert STRENGTHS.index(middle_one) not in (0, len(STRENGTHS) - 1)
    indicator = TASK.indicator(rows.train.targets).numpy()
    (lexicon,) = Lexicon.path(rows.splits.train.texts, indicator, (middle_one,), seed=0)
    ratio = found.tensors["lexicon.weight"].float() / torch.from_numpy(lexicon.weight)
    assert ratio.nanmedian() == pytest.approx(middle(heads._SHARPNESS), rel=0.01)
    assert math.isnan(found.score) and found.logits.shape == (0, 3)


def test_words_are_as_sharp_as_validation_has_them(rows):
    found = words_of(rows)
    assert found.loss == pytest.approx(TASK.measure(found.logits, rows.held.targets)[1])
    assert found.placement.exit == 0 and found.head.states == () and found.score > 0.8
    with pytest.MonkeyPatch.context() as patch:
        for sharpness in heads._SHARPNESS:
            patch.setattr(heads, "_SHARPNESS", (sharpness,))
            assert (found.score, -found.loss) >= (words_of(rows).score, -words_of(rows).loss)


def test_validation_is_not_on_the_clock_of_words_and_head(rows, monkeypatch):
    real = TASK.measure

    def slow(_, *arguments):
        time.sleep(0.05)
        return real(*arguments)

    monkeypatch.setattr(Classify, "measure", slow)
    began = time.perf_counter()
    found = [head_candidate(rows.train, rows.held, STATES), words_of(rows)]
    assert time.perf_counter() - began > sum(c.train_s for c in found) + 0.05 * 10


def test_words_stand_beside_a_candidate_only_where_validation_gains(rows):
    head, words = head_candidate(rows.train, rows.held, STATES), words_of(rows)
    assert joined(head, head, rows.held) is None
    # Each is right about one half and torn about the other.
    truth = torch.nn.functional.one_hot(rows.held.targets, 3).float()
    half = (torch.arange(15) < 7)[:, None]
    wrong = truth.roll(1, 1)
    one = _with(head, torch.where(half, 9 * truth, 0.5 * wrong), rows)
    other = _with(words, torch.where(half, 0.5 * wrong, 9 * truth), rows)
    both = joined(one, other, rows.held)
    assert both is not None and both.score == 1.0 and both.variant == "head + words"
    assert both.head.words == words.head.words and both.head.words_share == 0.5 and both.head.states == STATES
    assert both.tensors.keys() == head.tensors.keys() | words.tensors.keys()
    assert both.train_s == pytest.approx(one.train_s + other.train_s)
    assert both.num_trainable == one.num_trainable + other.num_trainable


def _with(candidate, logits, rows):
    score, loss = TASK.measure(logits, rows.held.targets)
    return replace(candidate, logits=logits, score=score, loss=loss)


def test_a_class_that_train_lacks_never_counts_as_right(rows):
    strange = Labelled(rows.held.rows, torch.full((15,), -1), TASK)
    found = head_candidate(rows.train, strange, STATES)
    assert (found.score, found.loss) == (0.0, math.inf)
