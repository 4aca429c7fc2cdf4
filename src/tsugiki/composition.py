"""What a set of adapters says of itself: `composition.json`.

Torch-free. The members stand beside it as packages of their own, byte for byte as they were, each in a folder that is
named after its digest, so a member that joins or leaves touches none of the others.
"""

import hashlib
from typing import Any, Literal

from pydantic import Field

from tsugiki.spec import Spec, canonical, from_bytes

SCHEMA_VERSION = 1


class Floor(Spec):
    """Where an adapter stops to know its inputs.

    Args:
        density: below which an input is foreign.
        num_lost: held-out rows below it.
        num_rows: held-out rows.
        share: of its own inputs that it loses at most, at the confidence asked for (0..1); 1 where no row was held out.
    """

    density: float
    num_lost: int
    num_rows: int
    share: float


class Member(Spec):
    """One adapter of a set.

    Args:
        name: that routes call it by.
        package: digest of its package.
        floor: proven by rows of its own that were given; None takes what its package proves.
    """

    name: str = Field(min_length=1)
    package: str = Field(pattern=r"^[0-9a-f]{64}$")
    floor: Floor | None = None

    @property
    def folder(self) -> str:
        """Where its package stands in the set."""
        return f"members/{self.package[:16]}"


class Composition(Spec):
    """A set of adapters on one base, and how an input finds its own.

    Args:
        schema_version: of this format.
        kind: tells it from other files.
        name: of the set.
        tsugiki_version: that wrote it.
        members: in the order in which they joined.
        router: `{kind, ...}`.
        state: of the base, by whose mean over the tokens an input is recognised.
        share: of its own inputs that an adapter may lose (0..1).
        confidence: of that bound (0..1).
        taught: sha256 of the file of what rows taught the router; None where they taught it nothing.
    """

    schema_version: int = SCHEMA_VERSION
    kind: Literal["composition"] = "composition"
    name: str
    tsugiki_version: str
    members: tuple[Member, ...] = Field(min_length=1)
    router: dict[str, Any]
    state: int = Field(ge=1)
    share: float = Field(gt=0, lt=1)
    confidence: float = Field(gt=0, lt=1)
    taught: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical(self.model_dump(mode="json"))

    def digest(self) -> str:
        """Digest of the set: it names the digest of every member."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def from_bytes(cls, content: bytes, *, path: object) -> "Composition":
        """Read one.

        Raises:
            PackageError: not JSON, another schema, unknown or missing fields, or bytes that are not canonical.
        """
        return from_bytes(cls, content, schema=SCHEMA_VERSION, path=path)
