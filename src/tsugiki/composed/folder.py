"""Sets of adapters as folders: composing, saving, loading."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from tsugiki.adapt.correction import Correction
from tsugiki.adapt.package import FILES, SET, Package, load_package
from tsugiki.adapt.package_checks import require_ungrouped
from tsugiki.adapt.router import ROUTERS
from tsugiki.adapt.tensors import read_tensors
from tsugiki.composition import Composition, Floor, Member
from tsugiki.drafts import write_folder
from tsugiki.errors import MissingError, PackageError
from tsugiki.spec import nearest, parse

ROUTER = "router.safetensors"
REPLACEABLE = (SET, "members", ROUTER)
# Of its own inputs, what an adapter may lose to nobody, and how sure that is.
SHARE, CONFIDENCE = 0.05, 0.9


@dataclass(frozen=True)
class Set:
    """A composition with its packages.

    Args:
        composition: what it says of itself.
        packages: of the members, in their order.
        folders: where each package is read from.
        correction: that rows taught the router; None where they taught it nothing.
    """

    composition: Composition
    packages: tuple[Package, ...]
    folders: tuple[Path, ...]
    correction: Correction | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the members, in their order."""
        return tuple(member.name for member in self.composition.members)

    def taught(self, floors: Sequence[Floor | None], correction: Correction | None) -> "Set":
        """The same with what rows taught: limits of each adapter, and what decides between them."""
        members = zip(self.composition.members, floors, strict=True)
        known = tuple(member.model_copy(update={"floor": floor}) for member, floor in members)
        digest = None if correction is None else hashlib.sha256(save(correction.tensors())).hexdigest()
        composition = self.composition.model_copy(update={"members": known, "taught": digest})
        return replace(self, composition=composition, correction=correction)

    def save(self, folder: Path) -> None:
        """Write the set; the bytes of each member stay what they are.

        Raises:
            PackageError: something else is at the folder.
            SpaceError: the disk is full.
            ConfigError: the folder cannot be written.
        """
        files = {SET: self.composition.to_bytes()}
        for member, source in zip(self.composition.members, self.folders, strict=True):
            kept = (name for name in FILES if (source / name).exists())
            files |= {f"{member.folder}/{name}": (source / name).read_bytes() for name in kept}
        if self.correction is not None:
            files[ROUTER] = save(self.correction.tensors())
        write_folder(folder, files, REPLACEABLE)


def is_set(folder: str | Path) -> bool:
    """Whether a folder holds a set, and not one adapter."""
    return (Path(folder) / SET).is_file()


def load_set(folder: Path) -> Set:
    """Read a set and believe nothing of it.

    Raises:
        MissingError: it is not there, or a member is missing.
        PackageError: it or a member is damaged, or a member is not the one that the set names.
    """
    if not is_set(folder):
        raise MissingError("compose.no_set", path=folder)
    composition = Composition.from_bytes((folder / SET).read_bytes(), path=folder / SET)
    folders = tuple(folder / member.folder for member in composition.members)
    packages = tuple(map(load_package, folders))
    for member, package in zip(composition.members, packages, strict=True):
        if package.digest != member.package:
            raise PackageError("compose.other_member", name=member.name, found=package.digest, allowed=member.package)
    ROUTERS.parse(composition.router)
    _check(packages, [member.name for member in composition.members])
    return Set(composition, packages, folders, _taught(composition, folder / ROUTER))


def _taught(composition: Composition, path: Path) -> Correction | None:
    """What rows taught the router, if it is the file that the set names."""
    if composition.taught is None:
        return None
    _, tensors = read_tensors(path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != composition.taught:
        raise PackageError("compose.bad_router", path=path)
    return Correction.from_tensors(tensors, len(composition.members), path=path)


def compose(
    folders: Sequence[Path],
    *,
    name: str,
    router: Mapping[str, Any] | None = None,
    share: float = SHARE,
    confidence: float = CONFIDENCE,
    onto: Set | None = None,
) -> Set:
    """Put adapters together that were trained apart.

    Args:
        folders: of their packages.
        name: of the set.
        router: `{kind, ...}`; None takes the one adapter that knows an input best.
        share: of its own inputs that an adapter may lose (0..1).
        confidence: of that bound (0..1).
        onto: a set that they join; its router and bound stay.

    Raises:
        MissingError: a package is not there.
        PackageError: a package is damaged, two have one name, they belong to different bases, or one carries no
            statistics by which its inputs could be recognised.
        ConfigError: there is no such router, or a setting is wrong.
        RoutingError: the router asks for more adapters than there are.
    """
    joining = tuple(map(load_package, folders))
    before = ((), (), ()) if onto is None else (onto.composition.members, onto.packages, onto.folders)
    members = (*before[0], *(Member(name=p.manifest.name, package=p.digest) for p in joining))
    packages = (*before[1], *joining)
    _check(packages, [member.name for member in members])
    correction = None
    if onto is not None:
        _require_state(joining, onto.composition.state)
        composition = onto.composition.model_copy(update={"name": name, "members": members})
        correction = onto.correction
    else:
        rule = ROUTERS.parse(router or {"kind": "top_k"})
        # A rule that asks for more adapters than there are says so now, and not when somebody asks.
        rule.route(torch.zeros(1, len(members)))
        facts = {
            "name": name,
            "tsugiki_version": version("tsugiki"),
            "members": members,
            "router": rule.model_dump(mode="json"),
            "state": _state(packages),
            "share": share,
            "confidence": confidence,
        }
        composition = parse(Composition, facts, where="compose")
    return Set(composition, packages, (*before[2], *folders), correction)


def _check(packages: Sequence[Package], names: Sequence[str]) -> None:
    """Refuse what cannot be one set."""
    for at, name in enumerate(names):
        if name in names[:at]:
            raise PackageError("compose.name_twice", name=name)
    for package in packages:
        require_ungrouped(package, "compose")
        if package.part("statistics") and "labels" not in package.manifest.task:
            raise PackageError("compose.no_labels", name=package.manifest.name)
    first = packages[0].manifest
    for package in packages[1:]:
        own, other = first.base, package.manifest.base
        shared = min(len(own.layer_digests), len(other.layer_digests))
        if own.layer_digests[:shared] != other.layer_digests[:shared] or own.tokenizer_digest != other.tokenizer_digest:
            raise PackageError("compose.other_base", first=first.name, other=package.manifest.name)


def _state(packages: Sequence[Package]) -> int:
    """The state by which inputs are recognised: half-way up, or the one nearest to that which all packages describe."""
    described = [_described(package) for package in packages]
    common = set.intersection(*described)
    if not common:
        lacking = next((p for p, states in zip(packages, described, strict=True) if not states), packages[-1])
        raise PackageError("compose.no_statistics", name=lacking.manifest.name)
    middle = packages[0].manifest.base.num_layers / 2
    return min(common, key=lambda state: (abs(state - middle), state))


def _require_state(packages: Sequence[Package], state: int) -> None:
    for package in packages:
        if state not in _described(package):
            raise PackageError("compose.no_statistics", name=package.manifest.name)


def _described(package: Package) -> set[int]:
    start = "statistics.densities."
    return {int(name.removeprefix(start)) for name in package.tensors if name.startswith(start)}


def member_of(found: Set, name: str) -> int:
    """Place of a member.

    Raises:
        MissingError: there is none of that name.
    """
    if name not in found.names:
        raise MissingError("compose.no_member", found=name, nearest=nearest(name, found.names))
    return found.names.index(name)
