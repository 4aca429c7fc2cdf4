"""From rows to advice, on a base so small that a draw takes a moment."""

import json
import math

import pytest

from tests.support.bases import tiny_base_folder
from tests.support.runs import easy_rows, quick_config
from tsugiki.advise.advice import Advice, _verdict, advise
from tsugiki.advise.law import Band
from tsugiki.advise.worth import Assumptions, Worth
from tsugiki.data.rows import Rows, Splits
from tsugiki.errors import RowsError
from tsugiki.report.advice import advice_page, advice_text, told

ASSUMED = Assumptions(wage=35, minutes=6, cases=2_000)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_base_folder(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def advice(bert, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSUGIKI_HOME", str(tmp_path_factory.mktemp("home")))
        return advise(Splits(train=easy_rows(90)), quick_config(bert), ASSUMED)


def test_the_curve_goes_from_sixteen_rows_to_four_fifths_of_them(advice):
    assert [point.rows for point in advice.points] == [16, 32, 72]
    assert all(len(point.shares) == 5 for point in advice.points)
    assert [point.held for point in advice.points] == [74, 58, 18]
    assert [point.rows for point in advice.automatic] == [16, 32, 72]


def test_what_is_expected_is_told_for_these_rows_and_for_twice_as_many(advice):
    assert [expected.rows for expected in advice.expected] == [90, 180]
    for expected in advice.expected:
        assert 0 <= expected.score.low <= expected.score.middle <= expected.score.high <= 1
        assert expected.worth == Worth.of(expected.automatic.middle, ASSUMED)
    assert advice.expected[0].score.middle > advice.guess == pytest.approx(1 / 3, abs=0.01)


def test_operation_is_counted(advice):
    found = advice.operation
    assert found.steps == 4 and found.update_steps == 2
    assert 0 < found.back_s < 60 and found.adapter_bytes > 0 and found.base_bytes > 1_000


@pytest.mark.parametrize(
    ("now", "twice", "verdict"),
    [
        (Band(90, 0.4, 0.3, 0.5), Band(180, 0.5, 0.3, 0.7), "not_yet"),
        (Band(90, 0.97, 0.95, 0.98), Band(180, 0.98, 0.96, 1.0), "enough"),
        (Band(90, 0.7, 0.6, 0.8), Band(180, 0.75, 0.6, 0.9), "more_rows"),
        (Band(90, 0.7, 0.6, 0.8), Band(180, 0.705, 0.6, 0.8), "modules"),
    ],
)
def test_what_to_do_next_follows_from_what_is_expected(advice, now, twice, verdict):
    expected = [e.model_copy(update={"score": band}) for e, band in zip(advice.expected, (now, twice), strict=True)]
    assert _verdict(expected, guess=1 / 3) == verdict


def test_a_class_that_is_answered_worse_is_to_get_rows_first(bert):
    rows = easy_rows(90)
    # Half of the rows of one label are said to be of another one: it cannot be told.
    labels = [l if l != "wet" or n % 2 else "odd" for n, l in enumerate(rows.labels)]
    found = advise(Splits(train=Rows(rows.texts, tuple(labels))), quick_config(bert), ASSUMED)
    assert {weak.label for weak in found.weak} <= {"wet", "odd"} and found.weak
    assert all(weak.rows == labels.count(weak.label) for weak in found.weak)


def test_a_class_of_one_row_is_refused_by_its_name(bert):
    rows = easy_rows(60)
    with pytest.raises(RowsError) as caught:
        advise(Splits(train=Rows(rows.texts, (*rows.labels[:-1], "rare"))), quick_config(bert), ASSUMED)
    assert caught.value.code == "advise.single" and "rare" in str(caught.value)


def test_labels_that_are_merged_for_training_are_merged_here_as_well(bert):
    rows = easy_rows(60)
    spelled = Rows(rows.texts, tuple(label.upper() if n % 7 == 0 else label for n, label in enumerate(rows.labels)))
    found = advise(Splits(train=spelled), quick_config(bert, data__merge_labels=True), ASSUMED)
    assert found.num_classes == 3


def test_rows_of_test_alone_are_refused(bert):
    with pytest.raises(RowsError) as caught:
        advise(Splits(test=easy_rows(60)), quick_config(bert), ASSUMED)
    assert caught.value.code == "data.no_train"


def test_too_few_rows_for_a_curve_are_refused(bert):
    with pytest.raises(RowsError) as caught:
        advise(Splits(train=easy_rows(6)), quick_config(bert), ASSUMED)
    assert caught.value.code == "advise.too_few"


# --- told


@pytest.fixture
def facts(advice):
    return json.loads(advice.model_dump_json())


@pytest.mark.parametrize("language", ["en", "ja"])
def test_page_and_text_hold_the_same_in_both_languages(facts, language, monkeypatch):
    monkeypatch.setenv("TSUGIKI_LANG", language)
    page, plain = advice_page(facts, b"png"), advice_text(facts)
    parts = told(facts)
    for sentence in (parts["verdict"], *parts["meeting"], *(end for _, end in parts["stages"])):
        assert sentence in plain
        assert sentence.replace("'", "&#39;") in page
    assert 'name="wage" value="35"' in page and "http" not in page.replace("http-equiv", "")
    assert "{" not in plain


def test_money_that_never_comes_back_is_not_given_as_a_number(facts):
    facts["expected"][0]["worth"] = json.loads(Worth.of(0.0, ASSUMED).model_dump_json())
    assert facts["expected"][0]["worth"]["months"] is None
    assert "inf" not in advice_text(facts) and math.isfinite(facts["expected"][0]["worth"]["money"])


def test_advice_can_be_read_again(advice):
    assert Advice.model_validate_json(advice.model_dump_json()).points == advice.points
