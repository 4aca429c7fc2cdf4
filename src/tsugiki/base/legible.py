"""Whether a base can read the rows at all, asked of its tokenizer before anything is computed.

A tokenizer that was made for another language loses what it does not know in two ways: a token that stands for anything
unknown, and different words that become the same tokens (an English one drops the mark by which ガ differs from カ).
Messages show characters, never words of rows.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tsugiki.base.model import Base
from tsugiki.data.texts import PAIR, clip
from tsugiki.errors import BaseModelError
from tsugiki.i18n import text as say
from tsugiki.i18n import warn

_SAMPLE = 2_000
_SHOWN = 8
_MOST_UNKNOWN, _MOST_EQUAL = 0.05, 0.01
_WORD = re.compile(r"[\u3040-\u309f]+|[\u30a0-\u30ff]+|[\u3400-\u9fff々]+|[^\W\d_\u3040-\u30ff\u3400-\u9fff々]+")
_KANA = re.compile(r"[\u3040-\u30ff]")
_LAST_LATIN = "\u024f"


@dataclass(frozen=True)
class Legibility:
    """What a tokenizer loses of some texts.

    Args:
        unknown_share: of their tokens, those that stand for anything unknown (0..1).
        equal_share: of their distinct words, those that become the tokens of another one (0..1).
        unknown: characters that are unknown, the most frequent first.
        equal: pairs of characters that become the same.
        script: whose bases to suggest: `japanese`, `other` or `latin`.
    """

    unknown_share: float
    equal_share: float
    unknown: tuple[str, ...]
    equal: tuple[str, ...]
    script: str

    @property
    def enough(self) -> bool:
        """Whether the base can read the texts."""
        return self.unknown_share <= _MOST_UNKNOWN and self.equal_share <= _MOST_EQUAL


def legibility(tokenizer: Any, texts: Sequence[str], max_length: int) -> Legibility:
    """Look at some of the texts, spread evenly.

    Args:
        tokenizer: of the base.
        texts: of the training rows.
        max_length: tokens per row at most.
    """
    some = [clip(text, max_length).replace(PAIR, " ") for text in texts[:: max(1, -(-len(texts) // _SAMPLE))]]
    words = sorted({word for text in some for word in _WORD.findall(text)})
    unknown = tokenizer.unk_token_id
    ids = tokenizer(some, add_special_tokens=False, truncation=True, max_length=max_length)["input_ids"] if some else []
    counts = Counter(number == unknown for row in ids for number in row)
    by_word = dict(zip(words, _ids(tokenizer, words), strict=True))
    equal = _equal(by_word, unknown)
    joined = "".join(some)
    return Legibility(
        unknown_share=counts[True] / max(1, counts.total()) if unknown is not None else 0.0,
        equal_share=sum(map(len, equal)) / max(1, len(words)),
        unknown=_unknown_characters(tokenizer, joined, unknown),
        equal=_differences(equal),
        script=_script(joined),
    )


def require_legible(base: Base, texts: Sequence[str], max_length: int, *, force: bool) -> None:
    """Stop before anything is computed where a base cannot read the rows.

    Args:
        base: the base.
        texts: of the training rows.
        max_length: tokens per row at most.
        force: whether to go on with a warning.

    Raises:
        BaseModelError: too much would be lost.
    """
    found = legibility(base.tokenizer, texts, max_length)
    if found.enough:
        return
    facts = {
        "base": base.name,
        "unknown": 100 * found.unknown_share,
        "equal": 100 * found.equal_share,
        "examples": ", ".join((*found.unknown, *found.equal)) or "-",
        "suggestion": say(f"base.suggest_{found.script}"),
    }
    if not force:
        raise BaseModelError("base.illegible", **facts)
    warn("base.hardly_legible", **facts)


def _script(text: str) -> str:
    """`japanese` where there are kana, `other` where one letter in twenty is not Latin, else `latin`."""
    letters = [character for character in text if character.isalpha()]
    foreign = sum(character > _LAST_LATIN for character in letters)
    if 20 * foreign <= len(letters):
        return "latin"
    return "japanese" if _KANA.search(text) else "other"


def _ids(tokenizer: Any, words: Sequence[str]) -> list[tuple[int, ...]]:
    return [tuple(ids) for ids in tokenizer(list(words), add_special_tokens=False)["input_ids"]] if words else []


def _equal(by_word: dict[str, tuple[int, ...]], unknown: int | None) -> list[list[str]]:
    """Groups of words that differ, in more than width and case, and have the same tokens, not all of them unknown."""
    groups: dict[tuple[int, ...], set[str]] = defaultdict(set)
    for word, ids in by_word.items():
        if any(number != unknown for number in ids):
            groups[ids].add(unicodedata.normalize("NFKC", word).casefold())
    return [sorted(group) for group in groups.values() if len(group) > 1]


def _unknown_characters(tokenizer: Any, text: str, unknown: int | None) -> tuple[str, ...]:
    counts = Counter(character for character in text if not character.isascii() and not character.isspace())
    frequent = [character for character, _ in counts.most_common(500)]
    lost = [c for c, ids in zip(frequent, _ids(tokenizer, frequent), strict=True) if not ids or set(ids) == {unknown}]
    return tuple(lost[:_SHOWN])


def _differences(groups: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """`ガ=カ` for words of one length that differ there."""
    pairs = (pair for group in groups for pair in pairwise(group))
    found = Counter(
        f"{a}={b}" for one, other in pairs if len(one) == len(other) for a, b in zip(one, other, strict=True) if a != b
    )
    return tuple(pair for pair, _ in found.most_common(_SHOWN))
