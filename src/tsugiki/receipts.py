"""A receipt: what made an answer, in a form that can be kept, compared and later signed. Torch-free.

It holds no word of the input and of the answer nothing but its label. Numbers are rounded, since the same answer in
another batch differs in its last digits.
"""

import hashlib
from typing import Literal

from pydantic import Field

from tsugiki.spec import Spec, canonical, from_bytes

SCHEMA_VERSION = 1
_WEIGHT_DIGITS, _CHANGE_DIGITS = 3, 2


class Fired(Spec):
    """Modules that acted on the input.

    Args:
        name: of the adapter or the group.
        layer: where they stand.
        weight: that they had, in the mean over the tokens, to three digits.
    """

    name: str
    layer: int
    weight: float


class Receipt(Spec):
    """Of one answer.

    Args:
        schema_version: of this format.
        kind: tells it from other files.
        tsugiki_version: that answered.
        input: sha256 of the text. Whoever guesses a text can check the guess.
        base: digest of the layers of the base that ran.
        packages: digests of the adapters that acted, the one that answered first.
        fired: modules that acted, from the lowest.
        label: of the answer.
        probability: of it, to three digits (0..1).
        change: by how much modules changed the logarithm of the answer's probability, to two digits, in nats.
    """

    schema_version: int = SCHEMA_VERSION
    kind: Literal["receipt"] = "receipt"
    tsugiki_version: str
    input: str = Field(pattern=r"^[0-9a-f]{64}$")
    base: str | None
    packages: tuple[str, ...] = ()
    fired: tuple[Fired, ...] = ()
    label: str
    probability: float
    change: float

    @classmethod
    def of(
        cls,
        text: str,
        *,
        tsugiki_version: str,
        base: str | None,
        packages: tuple[str, ...],
        fired: tuple[tuple[str, int, float], ...],
        label: str,
        probability: float,
        change: float,
    ) -> "Receipt":
        """Make one out, rounded; what rounds to no weight has not fired."""
        whole = [Fired(name=n, layer=at, weight=_rounded(w, _WEIGHT_DIGITS)) for n, at, w in fired]
        return cls(
            tsugiki_version=tsugiki_version,
            input=hashlib.sha256(text.encode()).hexdigest(),
            base=base,
            packages=packages,
            fired=tuple(found for found in whole if found.weight),
            label=label,
            probability=_rounded(probability, _WEIGHT_DIGITS),
            change=_rounded(change, _CHANGE_DIGITS),
        )

    def agrees(self, other: "Receipt") -> bool:
        """Whether another receipt is of the same answer: all of it is equal, and numbers by one in the last digit."""
        blank = {"probability": 0.0, "change": 0.0, "fired": ()}
        if self.model_copy(update=blank) != other.model_copy(update=blank) or len(self.fired) != len(other.fired):
            return False
        pairs = list(zip(self.fired, other.fired, strict=True))
        near = [(a.weight, b.weight, _WEIGHT_DIGITS) for a, b in pairs]
        near += [(self.probability, other.probability, _WEIGHT_DIGITS), (self.change, other.change, _CHANGE_DIGITS)]
        who = all((a.name, a.layer) == (b.name, b.layer) for a, b in pairs)
        return who and all(abs(a - b) <= 1.5 * 10.0**-digits for a, b, digits in near)

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical(self.model_dump(mode="json"))

    def digest(self) -> str:
        """Sha256 of `to_bytes()`, as hexadecimal."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def from_bytes(cls, content: bytes, *, path: object) -> "Receipt":
        """Read one.

        Raises:
            PackageError: not JSON, another schema, unknown or missing fields, or bytes that are not canonical.
        """
        return from_bytes(cls, content, schema=SCHEMA_VERSION, path=path)


def _rounded(value: float, digits: int) -> float:
    # Without a negative zero, whose bytes would be others.
    return round(value, digits) + 0.0
