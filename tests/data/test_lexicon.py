"""Words alone classify texts, from numbers alone, as well as measured."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tsugiki.data.lexicon import STRENGTHS, Lexicon, LexiconSpec
from tsugiki.data.rows import Rows, read_splits

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
TEXTS = ["oil leak at pump", "pump leaks oil", "oil leaking", "motor noise", "noisy motor", "loud noise from motor"]
LABELS = [0, 0, 0, 1, 1, 1]


def fitted(texts: list[str] = TEXTS, labels: list[int] = LABELS, num_classes: int = 2, seed: int = 0) -> Lexicon:
    return Lexicon.fit(texts, np.eye(num_classes)[labels], strength=1.0, seed=seed)


def answers(lexicon: Lexicon, texts: list[str]) -> list[int]:
    found: list[int] = lexicon.scores(texts).argmax(axis=1).tolist()
    return found


def test_the_words_of_a_class_speak_for_it():
    scores = fitted().scores(["the oil leaked", "a noisy motor"])
    assert scores.shape == (2, 2)
    assert scores.dtype == np.float32
    assert scores.argmax(axis=1).tolist() == [0, 1]


def test_two_classes_have_opposite_margins():
    scores = fitted().scores(TEXTS)
    np.testing.assert_array_equal(scores[:, 0], -scores[:, 1])


def test_japanese_without_spaces_is_classified():
    texts = ["ポンプから油が漏れている", "配管の油漏れを確認した", "モータから異音がする", "軸受の異音を確認した"]
    assert answers(fitted(texts, [0, 0, 1, 1]), ["タンクで油漏れ", "減速機の異音"]) == [0, 1]


def test_half_and_full_width_and_case_do_not_matter():
    lexicon = fitted(["ポンプ A1 漏れ", "ポンプ A2 漏れ", "モータ B1 異音", "モータ B2 異音"], [0, 0, 1, 1])
    np.testing.assert_array_equal(lexicon.scores(["ﾎﾟﾝﾌﾟ ａ１"]), lexicon.scores(["ポンプ A1"]))


def test_a_row_scores_the_same_alone_and_among_others():
    lexicon = fitted()
    np.testing.assert_array_equal(lexicon.scores(TEXTS)[2:3], lexicon.scores(TEXTS[2:3]))


def test_texts_without_a_known_word_get_the_bias():
    lexicon = fitted()
    for text in ("", " ", "ζζζζ"):
        np.testing.assert_array_equal(lexicon.scores([text])[0], lexicon.bias)


def test_no_texts_have_no_scores():
    assert fitted().scores([]).shape == (0, 2)


def test_the_same_seed_learns_the_same_tensors():
    first, second = fitted().tensors(), fitted().tensors()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_only_ngrams_of_two_rows_are_kept_unless_there_are_none():
    once = fitted(["aa", "bb"], [0, 1])
    assert answers(once, ["aa", "bb"]) == [0, 1]
    assert len(fitted().columns) < len(fitted([*TEXTS, *TEXTS], [*LABELS, *LABELS]).columns)


def test_a_class_without_rows_is_never_the_answer():
    lexicon = fitted(labels=[0, 0, 0, 2, 2, 2], num_classes=4)
    scores = lexicon.scores(TEXTS)
    assert scores.argmax(axis=1).tolist() == [0, 0, 0, 2, 2, 2]
    assert (scores[:, [1, 3]] == -1).all()


def test_one_class_alone_is_always_the_answer():
    assert answers(fitted(labels=[1] * 6, num_classes=3), ["oil", "", "new"]) == [1, 1, 1]


def test_rows_of_several_classes_speak_for_each_of_them():
    indicator = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1], [0, 1], [1, 1], [0, 0]])
    texts = [*TEXTS, "oil leak at the noisy motor", "nothing to report"]
    scores = Lexicon.fit(texts, indicator, strength=1.0, seed=0).scores(
        ["oil leaks", "a noisy motor", "noisy motor, oil leak"]
    )
    assert (scores > 0).tolist() == [[True, False], [False, True], [True, True]]


def test_a_class_that_all_rows_have_is_always_answered():
    indicator = np.array([[1, i % 2] for i in range(6)])
    assert (Lexicon.fit(TEXTS, indicator, strength=1.0, seed=0).scores(["oil", ""])[:, 0] == 1).all()


def test_without_any_words_the_most_frequent_class_is_the_answer():
    lexicon = fitted(["", " ", ""], [1, 0, 1])
    assert answers(lexicon, ["anything", ""]) == [1, 1]


def test_tensors_hold_numbers_only_and_give_the_lexicon_back():
    lexicon = fitted()
    tensors = lexicon.tensors()
    assert {name: value.dtype.name for name, value in tensors.items()} == {
        "columns": "int32",
        "idf": "float32",
        "weight": "float16",
        "bias": "float32",
    }
    assert all(value.flags.c_contiguous for value in tensors.values())  # safetensors writes memory as it lies
    again = Lexicon.from_tensors(lexicon.spec, tensors)
    np.testing.assert_allclose(again.scores(TEXTS), lexicon.scores(TEXTS), atol=2e-3)
    assert all(np.array_equal(tensors[name], value) for name, value in again.tensors().items())


def test_columns_ascend_and_lie_within_both_kinds_of_buckets():
    columns = fitted().columns
    assert (np.diff(columns) > 0).all()
    assert columns[0] >= 0
    assert columns[-1] < 2 * LexiconSpec().buckets


def test_few_buckets_collide_and_still_answer():
    lexicon = Lexicon.fit(TEXTS, np.eye(2)[LABELS], LexiconSpec(buckets=64), strength=1.0, seed=0)
    assert answers(lexicon, TEXTS) == LABELS


def accuracy(lexicon: Lexicon, rows: Rows, names: list[str]) -> float:
    found = lexicon.scores(rows.texts).argmax(axis=1)
    return float(np.mean([names[i] == label for i, label in zip(found, rows.labels or (), strict=True)]))


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not on this machine")
@pytest.mark.parametrize(("name", "expected"), [("faa_incident_type", 0.505), ("failure_mode", 0.67)])
def test_the_strength_chosen_on_validation_reaches_the_measured_accuracy(name, expected):
    splits = read_splits(SHARED / "data" / name)
    train, validation, test = (rows or Rows(()) for rows in (splits.train, splits.validation, splits.test))
    names = sorted(set(train.labels or ()))
    numbers = [names.index(label) for label in train.labels or ()]
    tried = [Lexicon.fit(train.texts, np.eye(len(names))[numbers], strength=c, seed=0) for c in STRENGTHS]
    best = max(tried, key=lambda lexicon: accuracy(lexicon, validation, names))
    assert accuracy(best, test, names) >= expected
    saved = Lexicon.from_tensors(best.spec, best.tensors())
    assert accuracy(saved, test, names) == accuracy(best, test, names)


def test_words_need_no_torch():
    script = "import sys, tsugiki.data.lexicon; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_few_rows_of_many_classes_are_learnt_without_a_warning():
    texts = [f"{letter}{letter}{letter} broke" for letter in "abcdefghijklmnopqrstuvwxy"]
    lexicon = Lexicon.fit([*texts, *texts[:5]], np.eye(25)[[*range(25), *range(5)]], strength=1.0, seed=0)
    assert answers(lexicon, texts[:5]) == list(range(5))
