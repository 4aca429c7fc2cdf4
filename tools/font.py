"""Make the Japanese font of the pictures: BIZ UDPGothic, cut down to what Japanese Windows can write.

    python tools/font.py BIZUDPGothic-Regular.ttf

Debian's package `fonts-morisawa-bizud-gothic` (1.05-2) holds the source. Its licence, the SIL Open Font License 1.1
without reserved names, allows to cut it down and to bundle it. Outlines stay as they are; what no picture uses
(hinting, vertical writing, layout features) is left out. The family gets a name of its own, so that a BIZ UDPGothic
which is installed and this one are never mistaken for each other.
"""

import sys
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

TARGET = Path(__file__).parents[1] / "src" / "tsugiki" / "report" / "font" / "japanese.ttf"
FAMILY = "BIZ UDPGothic tsugiki"
# What Windows calls Japanese, and what JIS X 0208 calls it: they differ in signs such as the wave dash.
CODECS = ("cp932", "shift_jis")
# Of the kanji of daily use, both lack one.
MORE = "𠮟"
# Names that hold the family: itself, full, PostScript and typographic.
_FAMILY, _FULL, _POSTSCRIPT, _TYPOGRAPHIC = 1, 4, 6, 16
_DROPPED = ["BASE", "DSIG", "GPOS", "GSUB", "GDEF", "VORG", "gasp", "meta", "vhea", "vmtx"]


def characters() -> set[int]:
    """Code points that the font shall have; private use is left out."""
    found = {number for number in range(0x20, 0x10000) if any(_has(codec, number) for codec in CODECS)}
    return {number for number in found if not 0xE000 <= number < 0xF900} | {ord(character) for character in MORE}


def cut_down(source: Path, target: Path) -> None:
    """Write the font that the pictures use."""
    font = TTFont(source, recalcTimestamp=False)
    options = Options(hinting=False, layout_features=[], notdef_outline=True, name_IDs=["*"], drop_tables=_DROPPED)
    options.name_languages = [0x409]
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=characters())
    subsetter.subset(font)
    for record in font["name"].names:
        if record.nameID in (_FAMILY, _FULL, _TYPOGRAPHIC):
            record.string = FAMILY
        elif record.nameID == _POSTSCRIPT:
            record.string = FAMILY.replace(" ", "-")
    font.save(target)


def _has(codec: str, number: int) -> bool:
    try:
        chr(number).encode(codec)
    except UnicodeError:
        return False
    return True


if __name__ == "__main__":
    cut_down(Path(sys.argv[1]), TARGET)
    print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.2f} MB, {len(characters()):,} characters wanted")
