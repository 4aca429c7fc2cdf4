"""What holds for every task that is answered with a text, of ours or of anybody's."""

import pytest

from tsugiki.data.reading import Reading
from tsugiki.data.rows import Rows
from tsugiki.errors import RowsError
from tsugiki.tasks.task import TASKS, task_for
from tsugiki.writing.metrics import METRICS
from tsugiki.writing.writing import SOURCE, WRITINGS, writes

TEXTS = ["replace: Activity ; pump: Part", "ポンプを交換した", "the oil leaks"]


@pytest.mark.parametrize("text", ["Oil leaks at pump number {}.", "ポンプの{}番から油が漏れています。"])
def test_texts_that_are_all_different_are_no_labels(text):
    rows = Rows(tuple(map(str, range(40))), tuple(text.format(i) for i in range(40)))
    with pytest.raises(RowsError) as error:
        task_for(rows, Reading())
    assert error.value.code == "writing.unclear_task"
    assert task_for(rows, Reading(task="classify")).kind == "classify"


def test_many_short_labels_are_labels():
    rows = Rows(tuple(map(str, range(40))), tuple(f"E-{i}" for i in range(40)))
    assert task_for(rows, Reading()).kind == "classify"


@pytest.fixture(params=WRITINGS.names())
def writing(request):
    return WRITINGS.parse({"kind": request.param})


def test_its_name_is_no_task_with_labels(writing):
    assert writes(writing.kind) and writing.kind not in TASKS.names()


def test_its_prompt_has_one_place_for_the_input(writing):
    assert writing.usual.count(SOURCE) == 1


def test_a_good_answer_is_wholly_right_and_the_nearest_reference_counts(writing):
    assert writing.judged_by in METRICS
    assert writing.match(TEXTS, [["another", text] for text in TEXTS]) == pytest.approx([1.0] * len(TEXTS))
    assert all(0 <= value <= 1 for value in writing.match(TEXTS, [["nothing of it"]] * len(TEXTS)))


def test_it_survives_its_settings(writing):
    assert WRITINGS.parse(writing.model_dump(mode="json")) == writing
