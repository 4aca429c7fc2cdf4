"""What a shelf says of itself in `about.json`: people see what is kept, and a row is found again by its text."""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from tsugiki.data.texts import NORMALISED
from tsugiki.home import write_atomically
from tsugiki.spec import Spec, canonical, digest

ABOUT = "about.json"


class ShelfFacts(Spec):
    """Of which states the rows of a shelf are, and by what they are known.

    Args:
        base: how the base was called by whoever made the shelf; others with the same lower layers share it.
        kind: `state`, those of all tokens, or `pooled`, means over the tokens of all states up to this one.
        state: its number.
        dtype: float32, float16 or bfloat16.
        tokenizer_digest: of the tokenizer.
        max_length: tokens per row at most.
        normalised: what was done to the letters of a text.
    """

    base: str
    kind: Literal["state", "pooled"]
    state: int
    dtype: str
    tokenizer_digest: str
    max_length: int
    normalised: str = NORMALISED

    @property
    def folder(self) -> str:
        """Name of the shelf below the folder of its weights: with one of these texts have one key."""
        known_by = digest([self.tokenizer_digest, self.max_length, self.normalised])
        return f"{self.kind}-{self.state:03d}-{self.dtype}-{known_by[:8]}"

    def key(self, row: str) -> bytes:
        """What a row is known by, 32 bytes from which its text cannot be read."""
        known_by = f"{self.tokenizer_digest} {self.max_length} {self.normalised} {row}"
        return hashlib.sha256(known_by.encode(errors="surrogatepass")).digest()

    def write(self, folder: Path) -> None:
        """Write them beside the segments, unless they are there."""
        if not (folder / ABOUT).exists():
            write_atomically(folder / ABOUT, canonical(self.model_dump()))

    @classmethod
    def read(cls, folder: Path) -> "ShelfFacts | None":
        """What a folder says of itself; None where that is nothing, or nothing that is understood."""
        try:
            return cls.model_validate_json((folder / ABOUT).read_bytes())
        except (OSError, ValidationError):
            return None
