"""Splits keep classes in proportion, texts together and results repeatable."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.data.rows import Rows, Splits
from tsugiki.data.split import folds, stratified_split, subsample, with_validation

labels = st.lists(st.sampled_from("aaaaaabbbccd"), max_size=200)
seeds = st.integers(0, 2**32)
grouped = st.lists(st.tuples(st.sampled_from("aaabbc"), st.integers(0, 30)), max_size=150)


@given(labels, st.floats(0, 1), seeds)
def test_every_row_is_on_one_side_and_every_class_in_train(rows, share, seed):
    train, held = stratified_split(rows, share, seed)
    assert train == sorted(train)
    assert held == sorted(held)
    assert sorted(train + held) == list(range(len(rows)))
    assert {rows[i] for i in train} == set(rows)


@given(labels, st.floats(0, 1), seeds)
def test_the_share_is_held_to_the_row_as_far_as_classes_allow(rows, share, seed):
    _, held = stratified_split(rows, share, seed)
    asked = len(rows) - round((1 - share) * len(rows))
    assert len(held) == min(asked, len(rows) - len(set(rows)))


@given(grouped, st.floats(0, 1), seeds)
def test_rows_of_one_text_stay_on_one_side_and_every_class_in_train(rows, share, seed):
    names, keys = [label for label, _ in rows], [key for _, key in rows]
    train, held = stratified_split(names, share, seed, groups=keys)
    assert not {keys[i] for i in train} & {keys[i] for i in held}
    assert {names[i] for i in train} == set(names)
    assert sorted(train + held) == list(range(len(rows)))


@given(labels, st.floats(0, 1), seeds)
def test_the_same_seed_splits_the_same_way(rows, share, seed):
    assert stratified_split(rows, share, seed) == stratified_split(rows, share, seed)


def test_another_seed_splits_another_way():
    rows = ["a", "b"] * 50
    assert stratified_split(rows, 0.2, 0) != stratified_split(rows, 0.2, 1)


def test_classes_are_held_in_proportion():
    rows = ["a"] * 600 + ["b"] * 300 + ["c"] * 100
    _, held = stratified_split(rows, 0.2, 0)
    assert Counter(rows[i] for i in held) == {"a": 120, "b": 60, "c": 20}


@given(grouped.filter(bool), st.integers(2, 6), seeds)
def test_folds_hold_every_row_once_and_keep_texts_together(rows, k, seed):
    names, keys = [label for label, _ in rows], [key for _, key in rows]
    made = folds(names, k, seed, groups=keys)
    assert len(made) == k
    assert sorted(i for _, held in made for i in held) == list(range(len(rows)))
    for train, held in made:
        assert sorted(train + held) == list(range(len(rows)))
        assert not {keys[i] for i in train} & {keys[i] for i in held}


@given(labels, st.integers(2, 6), seeds)
def test_folds_share_every_class_evenly(rows, k, seed):
    held = [Counter(rows[i] for i in fold) for _, fold in folds(rows, k, seed)]
    for label in set(rows):
        counts = [fold[label] for fold in held]
        assert max(counts) - min(counts) <= 1
    sizes = [fold.total() for fold in held]
    assert max(sizes) - min(sizes) <= len(set(rows))


@given(labels, st.integers(0, 250), seeds)
def test_a_subsample_has_the_size_asked_for_and_keeps_classes(rows, n, seed):
    kept = subsample(rows, n, seed)
    assert kept == sorted(set(kept))
    assert len(kept) == min(n, len(rows))
    assert kept == subsample(rows, n, seed)
    if n >= len(set(rows)):
        assert {rows[i] for i in kept} == set(rows)


def made(count: int, classes: int, copies: int = 1) -> Splits:
    return Splits(Rows(tuple(f"{i // copies}" for i in range(count)), tuple(f"{i % classes}" for i in range(count))))


@pytest.mark.parametrize(
    ("count", "classes", "held"),
    [
        (1_000, 4, 150),  # the share
        (100, 10, 20),  # two per class
        (20_000, 4, 1_000),  # no more than 1,000
        (12, 4, 4),  # no more than a third
        (3, 2, 1),
    ],
)
def test_validation_is_split_off_train_where_there_is_none(count, classes, held):
    splits = with_validation(made(count, classes), seed=0)
    assert splits.train is not None
    assert splits.validation is not None
    assert len(splits.validation) == held
    assert len(splits.train) == count - held
    assert not set(splits.train.texts) & set(splits.validation.texts)


def test_a_validation_that_is_there_is_kept():
    splits = Splits(made(100, 2).train, made(3, 2).train)
    assert with_validation(splits, seed=0) is splits


@pytest.mark.parametrize("splits", [made(2, 2), made(40, 2, copies=40), Splits(Rows(("a", "b"), ("x", "y")))])
def test_train_that_cannot_spare_a_row_gets_no_validation_and_a_warning(splits, caplog):
    assert with_validation(splits, seed=0) == splits
    assert len(caplog.records) == 1


def test_rows_without_labels_or_train_are_left_alone():
    for splits in (Splits(), Splits(Rows(("a", "b"))), Splits(test=made(9, 3).train)):
        assert with_validation(splits, seed=0) == splits
