import time
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.bases import tokenizer
from tsugiki.base.tokens import encode, pad
from tsugiki.data.texts import pair


@pytest.fixture(scope="module")
def base() -> Any:
    return SimpleNamespace(tokenizer=tokenizer())


def test_texts_are_encoded_as_their_tokenizer_does_it_alone(base):
    texts = ["oil leak at the pump", "", "motor"]
    assert encode(base, texts, 64) == [base.tokenizer(text)["input_ids"] for text in texts]
    assert encode(base, [], 64) == []


def test_a_text_is_cut_at_the_limit_and_keeps_its_last_special_token(base):
    (whole,), (cut,) = encode(base, ["oil " * 30], 64), encode(base, ["oil " * 30], 10)
    assert len(whole) == 32 and len(cut) == 10
    assert cut[:9] == whole[:9] and cut[-1] == base.tokenizer.sep_token_id


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_no_limit_is_too_low_to_be_kept(base, limit):
    assert [len(ids) for ids in encode(base, ["oil leak", ""], limit)] == [limit, min(limit, 2)]


def test_a_text_without_a_token_gets_one_to_stand_on():
    bare: Any = tokenizer()
    bare.backend_tokenizer.post_processor = None
    assert bare("")["input_ids"] == []
    base: Any = SimpleNamespace(tokenizer=bare)
    assert encode(base, ["", "oil"], 8)[0] == [bare.pad_token_id]


def test_a_text_of_a_million_characters_is_quick(base):
    began = time.perf_counter()
    (ids,) = encode(base, ["oil leak " * 111_112], 64)
    assert time.perf_counter() - began < 0.5
    assert len(ids) == 64


@pytest.mark.parametrize(
    ("text", "same_as"), [("oil \ud83d leak", "oil \ufffd leak"), ("a\ud83d\ude00b", "a\U0001f600b")]
)
def test_halves_of_characters_are_joined_or_replaced(base, text, same_as):
    assert encode(base, [text], 64) == encode(base, [same_as], 64)


def test_a_batch_is_padded_on_the_right():
    ids, mask = pad([[5, 6, 7], [8], [9, 10]])
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0], [9, 10, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]


def test_letters_of_another_width_are_the_same_tokens(base):
    assert encode(base, ["ｏｉｌ ｌｅａｋ"], 16) == encode(base, ["oil leak"], 16)
    assert encode(base, ["ﾎﾟﾝﾌﾟ"], 16) == encode(base, ["ポンプ"], 16)


# --- pairs


def test_a_pair_is_joined_as_the_tokenizer_joins_two_texts(base):
    expected = base.tokenizer("oil leak", "motor noise")["input_ids"]
    assert encode(base, [pair("oil leak", "motor noise"), "oil leak"], 32) == [
        expected,
        *encode(base, ["oil leak"], 32),
    ]
    assert encode(base, ["oil leak motor noise"], 32) != [expected]


def test_of_a_pair_that_is_too_long_the_longer_text_is_cut(base):
    (ids,) = encode(base, [pair("oil leak " * 100, "motor noise")], 12)
    assert len(ids) == 12
    assert ids[-3:] == base.tokenizer("x", "motor noise")["input_ids"][-3:]


def test_a_tokenizer_without_a_separator_gets_two_lines(base):
    class Decoder:
        pad_token_id = 0

        def num_special_tokens_to_add(self, pair):
            return 0

        def __call__(self, texts, **_):
            return {"input_ids": [[len(text), text.count("\n")] for text in texts]}

    decoder: Any = SimpleNamespace(tokenizer=Decoder())
    assert encode(decoder, [pair("ab", "c"), "d"], 8) == [[4, 1], [1, 0]]
