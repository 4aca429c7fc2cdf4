"""What is done to a text before anything reads it, alike in training and in answering."""

import unicodedata
from typing import Literal

import regex

# Kana, kanji, hangul, Thai; or a run of other letters, their marks and digits.
UNSPACED = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = regex.compile(rf"[{UNSPACED}]|(?:(?![{UNSPACED}])[\p{{L}}\p{{M}}\p{{N}}])+")
_CHARS_PER_TOKEN = 20


NORMALISED: Literal["NFKC"] = "NFKC"
"""What packages say of it: letters of one width, since half-width katakana and full-width digits are common in Japanese
records, and no vocabulary knows both."""


PAIR = "\x1e"
"""Stands between the two texts of a pair: the record separator, which no keyboard types and every lexicon takes for a
blank."""


def pair(first: str, second: str) -> str:
    """Two texts as one, to be told apart by whoever reads them."""
    return f"{first}{PAIR}{second}"


def clip(text: str, max_tokens: int) -> str:
    """The start of `text` that can matter to a base that reads `max_tokens` tokens, normalised.

    Tokenisers read a text to its end before they truncate it, minutes for rows of whole books. 20 characters per token
    are far above what any language needs: the tokens kept are the same, unless a text is mostly blanks.
    """
    first, between, second = text.partition(PAIR)
    if between:
        return pair(clip(first, max_tokens), clip(second, max_tokens))
    start = readable(text[: _CHARS_PER_TOKEN * max_tokens])
    return start if start.isascii() else unicodedata.normalize(NORMALISED, start)


def words(text: str) -> list[str]:
    """Words in lower case, full-width forms made plain; a character of a script without spaces is a word of its own."""
    found: list[str] = _WORD.findall(unicodedata.normalize(NORMALISED, text).lower())
    return found


def readable(text: str) -> str:
    """A text that can be tokenised and written: JSON can hold half a surrogate pair, for which U+FFFD stands in."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
