"""What is done to a text before anything reads it, alike in training and in answering."""

import unicodedata
from typing import Literal

_CHARS_PER_TOKEN = 20


NORMALISED: Literal["NFKC"] = "NFKC"
"""What packages say of it: letters of one width, since half-width katakana and full-width digits are common in Japanese
records, and no vocabulary knows both."""


def clip(text: str, max_tokens: int) -> str:
    """The start of `text` that can matter to a base that reads `max_tokens` tokens, normalised.

    Tokenisers read a text to its end before they truncate it, minutes for rows of whole books. 20 characters per token
    are far above what any language needs: the tokens kept are the same, unless a text is mostly blanks.
    """
    start = readable(text[: _CHARS_PER_TOKEN * max_tokens])
    return start if start.isascii() else unicodedata.normalize(NORMALISED, start)


def readable(text: str) -> str:
    """A text that can be tokenised and written: JSON can hold half a surrogate pair, for which U+FFFD stands in."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
