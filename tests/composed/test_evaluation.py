"""What the answers of a set are worth, beside those of adapters that are named."""

import pytest

from tests.support.members import letter_rows
from tests.support.runs import easy_rows
from tsugiki import sets
from tsugiki.composed.evaluation import evaluate_set
from tsugiki.data.rows import Rows
from tsugiki.errors import RowsError

FOREIGN = "g g g h h h g h g h g g h i i i i l l l"


@pytest.fixture(scope="module")
def desk(folders, tmp_path_factory):
    found = sets.compose(folders / "suffix", folders / "letters", out=tmp_path_factory.mktemp("desk"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def rows():
    easy, letters = easy_rows(30, seed=3), letter_rows(30, seed=3)
    labels = (*(easy.labels or ()), *(letters.labels or ()), "none")
    return Rows((*easy.texts, *letters.texts, FOREIGN), labels, domains=(*["suffix"] * 30, *["letters"] * 30, ""))


def test_scores_are_those_of_the_answers_one_by_one(desk, rows):
    found, answers = evaluate_set(desk, rows), desk.predict(rows.texts)
    right = [a.label == label for a, label in zip(answers, rows.labels, strict=True)]
    assert found.score == pytest.approx(sum(right) / 61)
    assert found.nobody == pytest.approx(sum(a.adapter is None for a in answers) / 61)
    for at, name in enumerate(desk.names):
        told, own = found.adapters[at], slice(30 * at, 30 * at + 30)
        assert (told.name, told.own) == (name, 30)
        assert told.answered == sum(a.adapter == name for a in answers)
        assert told.found == pytest.approx(sum(a.adapter == name for a in answers[own]) / 30)
        assert told.score == pytest.approx(sum(right[own]) / 30)
        named = desk.run_many(rows.texts[own], [name])[name]
        assert told.named == pytest.approx(sum(a.label == b for a, b in zip(named, rows.labels[own], strict=True)) / 30)
    assert (found.routed or 0) <= (found.named or 0) and found.lost == 0
    assert (found.own, found.foreign, found.foreign_nobody) == (60, 1, 1.0)


def test_rows_that_do_not_say_whose_they_are_have_the_score_alone(desk, rows):
    found = evaluate_set(desk, Rows(rows.texts, rows.labels))
    assert found.score == evaluate_set(desk, rows).score
    assert found.named is None and found.adapters[0].own is None


def test_rows_for_nobody_need_no_label(desk, rows):
    table = [
        {"text": text, "label": "" if whose == "" else label, "whose": whose}
        for text, label, whose in zip(rows.texts, rows.labels, rows.domains, strict=True)
    ]
    found = sets.evaluate_set(desk, table, domains="whose")
    assert (found.own, found.foreign, found.routed) == (60, 1, evaluate_set(desk, rows).routed)
    table[0]["label"] = ""
    with pytest.raises(RowsError) as error:
        sets.evaluate_set(desk, table, domains="whose")
    assert error.value.code == "evaluate.no_labels"


@pytest.mark.parametrize(("rows", "code"), [(Rows((), ()), "evaluate.empty"), (Rows(("oil",)), "evaluate.no_labels")])
def test_rows_without_labels_are_refused(desk, rows, code):
    with pytest.raises(RowsError) as error:
        evaluate_set(desk, rows)
    assert error.value.code == code
