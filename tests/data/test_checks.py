"""What is wrong with rows is found before anything is learnt from them."""

import pytest

from tsugiki import i18n
from tsugiki.data.checks import Finding, check, require_learnable
from tsugiki.data.rows import Rows, Splits
from tsugiki.errors import RowsError


def rows(*pairs: tuple[str, str]) -> Rows:
    return Rows(tuple(text for text, _ in pairs), tuple(label for _, label in pairs))


GOOD = rows(("a", "x"), ("b", "x"), ("c", "y"), ("d", "y"))


def only(splits: Splits) -> Finding:
    """The one finding, which says something in every language."""
    (finding,) = check(splits)
    for language in i18n.languages():
        i18n.use_language(language)
        assert finding.text()
    i18n.use_language(None)
    return finding


def test_good_rows_have_no_findings():
    splits = Splits(GOOD, rows(("e", "x")), rows(("f", "y")))
    assert check(splits) == []
    require_learnable(splits)


@pytest.mark.parametrize(
    ("splits", "code"),
    [
        (Splits(), "data.no_train"),
        (Splits(test=GOOD), "data.no_train"),
        (Splits(rows()), "data.empty"),
        (Splits(GOOD, test=rows()), "data.empty"),
        (Splits(Rows(("a", "b"))), "data.no_labels"),
        (Splits(GOOD, Rows(("e",))), "data.no_labels"),
        (Splits(rows(("a", "x"), ("b", "x"))), "data.one_class"),
    ],
)
def test_rows_that_cannot_be_learnt_from_are_refused(splits, code):
    finding = only(splits)
    assert (finding.level, finding.code) == ("error", code)
    with pytest.raises(RowsError) as caught:
        require_learnable(splits)
    assert str(caught.value) == finding.text()


def warned(splits: Splits, code: str) -> dict[str, object]:
    finding = only(splits)
    assert (finding.level, finding.code) == ("warning", code)
    require_learnable(splits)
    return dict(finding.facts)


def test_classes_of_a_single_row_are_named():
    splits = Splits(rows(*zip(GOOD.texts, GOOD.labels or (), strict=True), ("e", "rare")))
    assert warned(splits, "data.single_row_classes") == {"count": 1, "labels": "rare"}


def test_labels_that_train_lacks_are_counted_and_named():
    splits = Splits(GOOD, test=rows(("e", "new"), ("f", "new"), ("g", "x")))
    assert warned(splits, "data.unknown_labels") == {"split": "test", "count": 2, "labels": "new"}


def test_a_text_in_train_and_test_is_counted():
    splits = Splits(GOOD, test=rows(("a", "x"), ("a", "x"), ("f", "y")))
    assert warned(splits, "data.shared_texts") == {"split": "test", "count": 2, "rows": 3}


def test_a_text_in_train_and_validation_is_counted():
    assert warned(Splits(GOOD, GOOD), "data.shared_texts") == {"split": "validation", "count": 4, "rows": 4}


def test_a_text_with_two_labels_in_train_is_counted_once():
    splits = Splits(rows(("a", "x"), ("a", "y"), ("a", "y"), ("b", "x")))
    assert warned(splits, "data.contradictions") == {"count": 1}


def test_many_or_long_labels_are_cut_in_messages():
    labels = [f"{i} {'long ' * 50}" for i in range(50)]
    finding = only(Splits(rows(*((label, label) for label in labels))))
    assert finding.facts["count"] == 50
    assert len(str(finding.facts["labels"])) < 200
