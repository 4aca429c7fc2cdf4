"""Texts that are nearly the same are found among many."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tsugiki.data.likeness import near_pairs, plain


def sentence(chance: random.Random, words: int = 12) -> str:
    return " ".join("".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 9))) for _ in range(words))


def test_width_case_and_blanks_make_no_other_text():
    assert plain("ﾓｰﾀｰ  Stop\n") == plain("モーター stop")


def test_a_changed_letter_is_found_among_strangers():
    chance = random.Random(0)
    texts = [sentence(chance) for _ in range(700)]
    texts.append(texts[3][:-1] + "?")
    texts.append("x" + texts[600])
    assert {(i, j) for i, j, _ in near_pairs(texts)} == {(3, 700), (600, 701)}


def test_a_changed_letter_is_found_in_japanese():
    texts = ["プレス機4号の下に油が漏れている", "プレス機5号の下に油が漏れている", "コンベアが止まったまま動かない"]
    assert [(i, j) for i, j, _ in near_pairs(texts, 0.6)] == [(0, 1)]


def test_of_many_that_are_alike_each_is_found():
    chance = random.Random(1)
    kept = sentence(chance, 30)
    texts = [f"{kept} {number}" for number in range(60)]
    found = near_pairs(texts)
    assert {i for pair in found for i in pair[:2]} == set(range(60))


def test_few_or_tiny_texts_are_no_trouble():
    assert near_pairs([]) == near_pairs(["a"]) == near_pairs(["", "a"]) == []
    assert near_pairs(["油", "水", "油漏れ"]) == []


@settings(deadline=None, max_examples=25)
@given(st.lists(st.text(max_size=40), max_size=12, unique_by=plain))
def test_pairs_are_in_order_and_their_likeness_is_a_share(texts):
    for first, second, likeness in near_pairs([plain(text) for text in texts], 0.5):
        assert first < second and 0.5 <= likeness <= 1.001
