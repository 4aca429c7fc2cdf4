"""The letters of pictures: matplotlib's own font, and a Japanese one that comes along for what that lacks.

The Japanese font is known to this process alone; neither matplotlib's configuration nor its cache is touched.
"""

import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

from matplotlib import font_manager, rc_context

_LATIN = "DejaVu Sans"  # comes with matplotlib
_JAPANESE = Path(__file__).with_name("font") / "japanese.ttf"  # made by tools/font.py
_SIGNS = ("Sc", "Sm", "So")
# They adorn the sign before them; without it they are nothing.
_ADORNING = ("Cc", "Me", "Mn", "Sk")
_VARIANTS = range(0xFE00, 0xFE10)


def fonts() -> Any:
    """A context in which pictures have Latin and Japanese letters."""
    return rc_context({"font.family": [_LATIN, _japanese()], "axes.unicode_minus": False})


def drawable(words: str) -> str | None:
    """Words as the fonts can draw them: a sign that they lack by its name, `[oil drum]`, a letter by its number.

    Returns:
        None where they lack every letter.
    """
    if any(map(unicodedata.combining, words)):  # else names would lose their old kanji
        words = unicodedata.normalize("NFC", words)
    drawn = [_drawn(character) for character in words]
    lacking = sum(part.startswith("[U+") for part in drawn)
    return None if lacking and lacking >= sum(map(str.isalpha, words)) else "".join(drawn)


def _drawn(character: str) -> str:
    kind = unicodedata.category(character)
    if kind == "Cf" or ord(character) in _VARIANTS:  # invisible
        return ""
    if ord(character) in _letters():
        return character
    if kind in _SIGNS:
        return f"[{unicodedata.name(character).lower()}]"
    return "" if kind in _ADORNING else f"[U+{ord(character):04X}]"


@cache
def _japanese() -> str:
    """The family of the Japanese font, made known to matplotlib."""
    font_manager.fontManager.addfont(_JAPANESE)
    return str(font_manager.get_font(_JAPANESE).family_name)


@cache
def _letters() -> frozenset[int]:
    """Code points that one of the two fonts has."""
    paths = (font_manager.findfont(_LATIN), _JAPANESE)
    return frozenset(number for path in paths for number in font_manager.get_font(path).get_charmap())
