"""The encoding of a text file: recognised where that is safe, said, and refused where it would be a guess.

In this order: a byte order mark; zeros beside letters (UTF-16 without a mark); UTF-8; CP932, which Japanese
Windows writes (not plain Shift_JIS, which lacks "①", "㈱" and "髙"). CP932 gives a meaning to almost any bytes, so it
is believed only where what comes out looks like Japanese: French of Windows would be read as rare kanji.
"""

import codecs
import re

from tsugiki.errors import ConfigError, RowsError
from tsugiki.i18n import notify

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Kana, the punctuation of Japanese, full-width forms, and the kanji that come first in JIS, by how often they are used.
_USUAL = re.compile(r"[\u3000-\u30ff\uff01-\uff60①-⑳Ⅰ-Ⅻ㈱㈲℃№髙﨑]")
# Half-width katakana are single bytes: those of EUC-JP and of Western and Cyrillic letters come out as such. So they
# speak neither for nor against, and enough else has to be there that does.
_HALF_WIDTH = re.compile(r"[\uff61-\uff9f]")
_PLAUSIBLE_SHARE, _TELLING_SHARE = 0.7, 0.2
_FIRST_LEVEL = range(0x889F, 0x9873)


def decode(name: str, data: bytes, encoding: str | None = None) -> tuple[str, str]:
    """The text of a file, and the encoding it was in; what is not plain UTF-8 is said.

    Args:
        name: what messages call the file.
        data: its bytes.
        encoding: as the user says; None recognises it.

    Raises:
        ConfigError: there is no such encoding.
        RowsError: the bytes are not in that encoding, in two, or in none that is recognised.
    """
    if encoding is not None:
        return _named(name, data, encoding), encoding
    found = _marked(data) or _without_mark(name, data)
    if found == "utf-8-sig" and not _is_in(data, "utf-8"):
        _refuse_mixture(name, data)
    text = _named(name, data, found)
    if found not in ("utf-8", "utf-8-sig"):
        notify("rows.encoding_found", path=name, encoding=found)
    return text, found


def _named(name: str, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        raise ConfigError("rows.no_such_encoding", found=encoding) from None
    except UnicodeError as error:
        at = getattr(error, "start", 0)
        line = data.count(b"\n", 0, at) + 1
        raise RowsError("rows.bad_encoding", path=name, line=line, byte=at, encoding=encoding) from None


def _marked(data: bytes) -> str | None:
    return next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)


def _without_mark(name: str, data: bytes) -> str:
    # Letters, commas and line ends have a zero beside them in UTF-16, always on the same side; other text has none.
    first, second = data[::2].count(0), data[1::2].count(0)
    if (first or second) and len(data) % 2 == 0 and not (first and second):
        return "utf-16-be" if first else "utf-16-le"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return _not_utf8(name, data, error.start)
    return "utf-8"


def _refuse_mixture(name: str, data: bytes) -> None:
    """Name a line of each, where some are UTF-8 and some CP932."""
    lines = data.splitlines()
    first, second = (next((i for i, line in enumerate(lines, 1) if is_it(line)), 0) for is_it in (_is_utf8, _is_cp932))
    if first and second:
        raise RowsError("rows.mixed_encodings", path=name, first=first, second=second)


def _not_utf8(name: str, data: bytes, at: int) -> str:
    _refuse_mixture(name, data)
    try:
        text = data.decode("cp932")
    except UnicodeDecodeError:
        text = ""
    if not _is_japanese(text):
        raise RowsError("rows.not_utf8", path=name, line=data.count(b"\n", 0, at) + 1, byte=at)
    return "cp932"


def _is_in(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _is_utf8(line: bytes) -> bool:
    """Whether a line can only be meant as UTF-8: two characters of several bytes are no accident."""
    try:
        return sum(not c.isascii() for c in line.decode("utf-8")) > 1
    except UnicodeDecodeError:
        return False


def _is_cp932(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        try:
            return _is_japanese(line.decode("cp932"))
        except UnicodeDecodeError:
            return False
    return False


def _is_japanese(text: str) -> bool:
    foreign = [c for c in text if not c.isascii()]
    telling = [c for c in foreign if not _HALF_WIDTH.match(c)]
    if not telling or len(telling) < _TELLING_SHARE * len(foreign):
        return False
    return sum(map(_is_usual, telling)) >= _PLAUSIBLE_SHARE * len(telling)


def _is_usual(character: str) -> bool:
    if _USUAL.match(character):
        return True
    code = character.encode("cp932", "ignore")
    return len(code) == 2 and int.from_bytes(code) in _FIRST_LEVEL
