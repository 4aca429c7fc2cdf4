"""An adapter's answers beside the labels."""

import json
from dataclasses import fields

import numpy as np
import pytest

from tsugiki.data.rows import Rows
from tsugiki.errors import RowsError
from tsugiki.evaluate.run import Evaluation, evaluate
from tsugiki.review import Review
from tsugiki.tasks.kinds.classify import Classify

TASK = Classify(labels=("a", "b"))


class FirstLetter:
    """Answers with the label that begins as the text does."""

    task = TASK

    def scores(self, texts):
        return np.array([[text.startswith(label) for label in TASK.labels] for text in texts], dtype=float)


def test_right_and_wrong_answers_are_counted_by_class():
    found = evaluate(FirstLetter(), Rows(("a1", "a2", "b1", "b2"), ("a", "b", "b", "b")))
    assert found.score == 0.75
    assert found.confusion == ((1, 0), (1, 2))
    assert [c.num_rows for c in found.classes] == [1, 3]


def test_a_label_the_adapter_does_not_know_is_an_error_of_a_class_of_its_own():
    found = evaluate(FirstLetter(), Rows(("a1", "b1"), ("a", "z")))
    assert found.score == 0.5
    assert found.labels == ("a", "b", "z")
    assert found.confusion[2] == (0, 1, 0)
    assert found.classes[2].recall == 0.0
    assert found.macro_f1 == pytest.approx(1 / 3)


def test_the_json_form_holds_everything():
    found = json.loads(evaluate(FirstLetter(), Rows(("a1",), ("a",))).to_json())
    assert set(found) == {f.name for f in fields(Evaluation)}
    assert found["classes"][0]["label"] == "a"


@pytest.mark.parametrize(("rows", "code"), [(Rows(()), "evaluate.empty"), (Rows(("a",)), "evaluate.no_labels")])
def test_rows_that_say_nothing_are_refused(rows, code):
    with pytest.raises(RowsError) as caught:
        evaluate(FirstLetter(), rows)
    assert caught.value.code == code
    assert str(caught.value)


# --- confidence


class Sure:
    """Is as sure as the number in a text says, and always answers `a`."""

    task = TASK

    def scores(self, texts):
        stated = np.array([float(text) for text in texts])
        return np.log(np.stack([stated, 1 - stated], axis=1))


TEN = Rows(("0.9",) * 10 + ("0.6",) * 10, ("a",) * 9 + ("b",) + ("a",) * 6 + ("b",) * 4)


def test_honest_confidence_has_no_calibration_error_and_overconfidence_has():
    assert evaluate(Sure(), TEN).calibration_error == pytest.approx(0.0, abs=1e-6)
    assert evaluate(Sure(), Rows(("0.9",) * 10, ("a",) * 5 + ("b",) * 5)).calibration_error == pytest.approx(0.4)


def test_coverage_goes_from_the_surest_rows_to_all():
    assert evaluate(Sure(), TEN).coverage == ((0.5, 0.9), (1.0, 0.75))


def test_the_automatic_share_is_what_the_rule_of_validation_brings_here():
    review = Review(num_rows=100, points=((0.9, 50, 0), (0.6, 100, 20)), wanted=0.95)
    found = evaluate(Sure(), TEN, review).automatic
    assert found is not None and (found.threshold, found.share, found.precision) == (0.9, 0.5, 0.9)
    assert found.low < 0.9 < found.high
    assert evaluate(Sure(), TEN, review, 0.5).automatic.share == 1.0  # type: ignore[union-attr]
    none = Review(num_rows=10, points=((0.9, 10, 9),), wanted=0.95)
    assert json.loads(evaluate(Sure(), TEN, none).to_json())["automatic"]["precision"] is None
