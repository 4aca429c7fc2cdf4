"""Specs: frozen data that is config section, manifest entry and digest at once."""

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tsugiki.errors import ConfigError

S = TypeVar("S", bound="Spec")


class Spec(BaseModel):
    """Frozen, strict about unknown keys, and with a digest."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def digest(self) -> str:
        """sha256 over the canonical form, as hexadecimal."""
        return digest(self.model_dump(mode="json"))


def canonical(value: object) -> bytes:
    """The one JSON form of `value`: sorted keys, no spaces, UTF-8, no NaN.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: object) -> str:
    """sha256 over the canonical JSON of `value`, as hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name most like `name`; the first one where none is alike."""
    names = sorted(known)
    return (difflib.get_close_matches(name, names, n=1, cutoff=0.4) or names or ["-"])[0]


def parse(kind: type[S], values: Mapping[str, Any], *, where: str) -> S:
    """Build a spec from plain data.

    Args:
        kind: the spec to build.
        values: its fields.
        where: what the user calls this section, for the message.

    Raises:
        ConfigError: fields are wrong; every fault is named, unknown keys with the nearest known one.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(_fault(kind, dict(fault)) for fault in error.errors())
        raise ConfigError("config.invalid", where=where, faults=faults) from None


def _fault(kind: type[BaseModel], fault: dict[str, Any]) -> str:
    path = [str(part) for part in fault["loc"]]
    name = ".".join(path)
    if fault["type"] != "extra_forbidden":
        return f"{name}: {fault['msg']} ({str(fault['input'])[:60]!r})"
    section: Any = kind
    for part in path[:-1]:
        fields = getattr(section, "model_fields", {})
        section = fields[part].annotation if part in fields else None
    known = getattr(section, "model_fields", {})
    return f"{name}: unknown, did you mean {nearest(path[-1], known)}? ({', '.join(known)})"
