"""An adapter's answers beside the labels."""

import json

import numpy as np
import pytest

from tsugiki.data.rows import Rows
from tsugiki.errors import RowsError
from tsugiki.evaluate.run import evaluate


class FirstLetter:
    """Answers with the label that begins as the text does."""

    labels = ("a", "b")

    def scores(self, texts):
        return np.array([[text.startswith(label) for label in self.labels] for text in texts], dtype=float)


def test_right_and_wrong_answers_are_counted_by_class():
    found = evaluate(FirstLetter(), Rows(("a1", "a2", "b1", "b2"), ("a", "b", "b", "b")))
    assert found.accuracy == 0.75
    assert found.confusion == ((1, 0), (1, 2))
    assert [c.num_rows for c in found.classes] == [1, 3]


def test_a_label_the_adapter_does_not_know_is_an_error_of_a_class_of_its_own():
    found = evaluate(FirstLetter(), Rows(("a1", "b1"), ("a", "z")))
    assert found.accuracy == 0.5
    assert found.labels == ("a", "b", "z")
    assert found.confusion[2] == (0, 1, 0)
    assert found.classes[2].recall == 0.0
    assert found.macro_f1 == pytest.approx(1 / 3)


def test_the_json_form_holds_everything():
    found = json.loads(evaluate(FirstLetter(), Rows(("a1",), ("a",))).to_json())
    assert set(found) == {"accuracy", "macro_f1", "num_rows", "labels", "classes", "confusion"}
    assert found["classes"][0]["label"] == "a"


@pytest.mark.parametrize(("rows", "code"), [(Rows(()), "evaluate.empty"), (Rows(("a",)), "evaluate.no_labels")])
def test_rows_that_say_nothing_are_refused(rows, code):
    with pytest.raises(RowsError) as caught:
        evaluate(FirstLetter(), rows)
    assert caught.value.code == code
    assert str(caught.value)
