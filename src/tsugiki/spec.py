"""Specs: frozen data that is config section, manifest entry and digest at once."""

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tsugiki.errors import ConfigError, PackageError, place_of
from tsugiki.i18n import text

S = TypeVar("S", bound="Spec")

# Starts of pydantic's kinds of faults, and what was wanted there.
_WANTED = {
    "int": "whole",
    "float": "number",
    "finite": "number",
    "bool": "bool",
    "string": "text",
    "missing": "missing",
    "too_short": "missing",
}


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


def from_bytes(kind: type[S], content: bytes, *, schema: int, path: object) -> S:
    """Read a file whose digest is that of its bytes, and believe nothing of it.

    Args:
        kind: of what it holds, with a field `schema_version`.
        content: of the file.
        schema: the version that is known.
        path: of the file, for errors.

    Raises:
        PackageError: not JSON, another schema, unknown or missing fields, or bytes that are not canonical.
    """
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PackageError("package.not_json", path=path, reason=place_of(error)) from error
    found = values.get("schema_version") if isinstance(values, dict) else None
    if found != schema:
        raise PackageError("package.schema", path=path, found=found, allowed=schema)
    try:
        read = kind.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, f['loc']))}: {wanted(f)}" for f in error.errors())
        raise PackageError("package.fields", path=path, faults=faults) from None
    if canonical(read.model_dump(mode="json")) != content:
        raise PackageError("package.not_canonical", path=path)
    return read


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
        return text("spec.fault", name=name, wanted=wanted(fault), found=repr(str(fault["input"])[:60]))
    section: Any = kind
    for part in path[:-1]:
        fields = getattr(section, "model_fields", {})
        section = fields[part].annotation if part in fields else None
    known = getattr(section, "model_fields", {})
    return text("spec.unknown", name=name, nearest=nearest(path[-1], known), allowed=", ".join(known))


def wanted(fault: Mapping[str, Any]) -> str:
    """What would have been right: in our words for what people get wrong, in pydantic's for the rest.

    Args:
        fault: one of `ValidationError.errors()`.
    """
    kind, limits = fault["type"], fault.get("ctx", {})
    if kind == "extra_forbidden":
        return text("spec.extra")
    for name in ("gt", "ge", "lt", "le"):
        if name in limits:
            return text(f"spec.{name}", limit=f"{limits[name]:g}")
    if kind == "literal_error":
        return str(limits["expected"]).replace(" or ", ", ")
    for start, key in _WANTED.items():
        if kind.startswith(start):
            return text(f"spec.{key}")
    return str(fault["msg"])
