"""In which encoding the files are, and whether letters broke on the way into them."""

from collections.abc import Iterator
from typing import Literal

from tsugiki.data.checks import Finding
from tsugiki.data.inspection import Inspection, Seen

_TAKEN_FOR = ("cp1252", "cp932")


class Encodings(Inspection):
    """What was found of text files, and texts that were read in a wrong encoding before they were saved."""

    kind: Literal["encodings"] = "encodings"

    def look(self, seen: Seen) -> Iterator[Finding]:
        """A note for each text file, and a warning with the rows of broken letters."""
        for part in seen.parts:
            if part.table.encoding is not None:
                yield Finding("note", "data.encoding", {"split": part.split, "encoding": part.table.encoding})
        broken = [(seen.places[row],) for row, text in enumerate(seen.texts) if _is_broken(text)]
        if broken:
            yield Finding("warning", "data.broken_letters", {"count": len(broken)}, ("row",), tuple(broken))


def _is_broken(text: str) -> bool:
    return "\ufffd" in text or any(_was_utf8(text, encoding) for encoding in _TAKEN_FOR)


def _was_utf8(text: str, encoding: str) -> bool:
    """Whether a text is UTF-8 that somebody read in another encoding: `Ã¼` for `ü`, `豎ｹ` for `油`."""
    if text.isascii():
        return False
    try:
        return not text.encode(encoding).decode("utf-8").isascii()
    except UnicodeError:
        return False
