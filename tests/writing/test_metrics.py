import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsugiki.data.texts import words
from tsugiki.writing.metrics import METRICS, corpus_scores, item_f1, rouge_l, token_f1

TEXTS = st.text(st.sampled_from("ab ;漏油。,"), max_size=12)


@pytest.mark.parametrize("name", METRICS)
@settings(deadline=None, max_examples=40)
@given(answer=TEXTS, reference=TEXTS)
def test_scores_lie_between_none_and_all_and_the_reference_itself_has_all(name, answer, reference):
    assert 0 <= METRICS[name](answer, reference) <= 1
    if words(reference):
        assert METRICS[name](reference, reference) == pytest.approx(1)


def test_words_of_scripts_without_spaces_are_single_characters():
    assert words("Oil-leak (3 mm), ポンプの漏れ") == ["oil", "leak", "3", "mm", *"ポンプの漏れ"]
    assert words("ABC１２３") == ["abc123"] and words("हिन्दी में") == ["हिन्दी", "में"]


def test_rouge_means_something_in_japanese():
    assert rouge_l("ポンプから油が漏れた", "ポンプから水が漏れた") == pytest.approx(0.9)


def test_words_and_items_are_counted_whatever_their_order():
    assert token_f1("pump leak oil", "oil leak pump") == 1
    assert token_f1("oil", "oil leak pump") == pytest.approx(0.5)
    assert item_f1("b: Part ; a: Act", "A: act;b: part") == 1
    assert item_f1("a ; a ; b", "a ; b") == pytest.approx(0.8)
    assert item_f1("油；水", "水;油") == 1
    assert item_f1("", "a") == 0 and item_f1("", " ; ") == 1


def test_over_all_rows_the_nearest_reference_counts():
    answers, references = ["the oil leaks", "a belt"], [["oil leaks", "the oil leaks"], ["a belt"]]
    found = corpus_scores(answers, references)
    assert found["exact_match"] == found["rouge_l"] == found["token_f1"] == pytest.approx(1)
    assert found["chrf_corpus"] == pytest.approx(1) and all(0 <= value <= 1 + 1e-9 for value in found.values())


def test_bleu_cuts_scripts_without_spaces_by_character():
    near, far = (
        corpus_scores([text], [["ポンプから油が漏れた"]])["bleu"] for text in ("ポンプから水が漏れた", "停止した")
    )
    assert near > 0.4 > far
