"""The saved form of an adapter: a folder with its manifest, its tensors and a model card.

What is loaded comes from anywhere, so nothing is believed: the tensors must be exactly those that the manifest calls
for, with its digests, and the header of their file carries the digest of the manifest, so that the two belong together
and no byte of either can change unseen. Nothing is unpickled or unpacked.
"""

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tsugiki.adapt.adapted import Graft
from tsugiki.adapt.form import FORMS, Form
from tsugiki.adapt.reader import READERS
from tsugiki.base.model import Base
from tsugiki.errors import (
    BaseModelError,
    ConfigError,
    MissingError,
    PackageError,
    SpaceError,
    TsugikiError,
    place_of,
    reason_of,
)
from tsugiki.home import swap, sync_folder
from tsugiki.manifest import Manifest, ModuleFacts

FILES = MANIFEST, TENSORS, CARD = "adapter.json", "adapter.safetensors", "README.md"
# The format allows 100 MB; an adapter with 100,000 tensors needs a tenth of this.
MAX_HEADER_BYTES = 25_000_000

_PICKLES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}
# Of lexicon and statistics; all that is trained is float32.
_DTYPES = {torch.float16, torch.float32, torch.float64, torch.uint8, torch.int32, torch.int64}
# Rooms of tensors whose number and shapes only their reader knows.
_OPEN = ("lexicon.", "statistics.")


@dataclass(frozen=True)
class Package:
    """An adapter as it is kept and shipped.

    Args:
        manifest: what it says of itself.
        tensors: by name: `modules.LAYER.SITE.PARAMETER`, `reader.*`, `head.weight` (C, F), `head.bias` (C,),
            `lexicon.*` and `statistics.*`.
        digest: of the manifest, which names the digest of every tensor.
    """

    manifest: Manifest
    tensors: dict[str, Tensor]
    digest: str

    @property
    def grafts(self) -> list[Graft]:
        """The modules, as `AdaptedModel.attach` takes them."""
        return [Graft(m.layer, m.site, _form(m)) for m in self.manifest.placement.modules]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of one part (`modules`, `reader`, `head`, ...), named without it."""
        return part(self.tensors, name)


def part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of one part of a package, named without it."""
    return {n.removeprefix(f"{name}."): tensor for n, tensor in tensors.items() if n.startswith(f"{name}.")}


def require_free(folder: Path) -> None:
    """Refuse a folder that a package cannot be written to, before minutes are spent.

    Raises:
        PackageError: something else is there.
        ConfigError: it may not be written.
    """
    _check_replaceable(folder, FILES)
    above = next(parent for parent in folder.resolve().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        refused = OSError(errno.EACCES if above.is_dir() else errno.ENOTDIR, "")
        raise ConfigError("package.not_writable", path=folder, reason=f"{above}: {reason_of(refused)}")


def save_package(
    folder: Path, manifest: Manifest, tensors: Mapping[str, Tensor], card: Callable[[Manifest], str]
) -> Package:
    """Write a package; whenever the machine stops, the folder is absent, as it was, or whole.

    Args:
        folder: where; a package that is there already is replaced.
        manifest: without the digests of the tensors, which are filled in.
        tensors: all of them, by name.
        card: writes the model card, such as `tsugiki.report.card.card`.

    Raises:
        PackageError: the tensors are not those of the manifest, a number is NaN or infinite, or something else is at
            the folder.
        SpaceError: the disk is full.
        ConfigError: the folder cannot be written.
    """
    kept = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    filled = manifest.model_copy(update={"tensors": {name: tensor_digest(tensor) for name, tensor in kept.items()}})
    _check(filled, kept)
    try:
        content = filled.to_bytes()
    except ValueError as error:
        raise PackageError("package.numbers", package=manifest.name, reason=error) from None
    # Read again, so that what is returned equals what will be loaded.
    package = Package(Manifest.from_bytes(content, path=folder / MANIFEST), kept, hashlib.sha256(content).hexdigest())
    files = {
        MANIFEST: content,
        TENSORS: save(kept, metadata={"manifest": package.digest}),
        CARD: card(package.manifest).encode(),
    }
    write_folder(folder, files, replaceable=FILES)
    return package


def load_package(folder: Path) -> Package:
    """Read a package and believe nothing of it.

    Whether it fits a base is for `check_base` to say.

    Raises:
        MissingError: the folder, the manifest or the tensors are not there.
        PackageError: the manifest is not valid, or the tensors are not exactly those that it calls for.
    """
    if not folder.is_dir():
        raise MissingError("package.no_folder", path=folder)
    if not (folder / MANIFEST).is_file():
        raise MissingError("package.no_manifest", path=folder / MANIFEST)
    content = (folder / MANIFEST).read_bytes()
    manifest = _manifest(content, folder / MANIFEST)
    digest = hashlib.sha256(content).hexdigest()
    header, tensors = read_tensors(folder / TENSORS)
    saved_with = header.get("__metadata__", {}).get("manifest")
    if saved_with != digest:
        raise PackageError("package.not_together", path=folder, found=digest, allowed=saved_with)
    _check_names(manifest, tensors, set(manifest.tensors), set(manifest.tensors))
    for name, tensor in tensors.items():
        if tensor_digest(tensor) != manifest.tensors[name]:
            raise PackageError("package.digest", path=folder / TENSORS, tensor=name)
    _check(manifest, tensors)
    return Package(manifest, tensors, digest)


def check_base(package: Package, base: Base) -> None:
    """See that a package belongs to a base.

    A base of which only the lower layers are loaded is checked for those; the package must need no others.

    Raises:
        PackageError: another base or tokenizer, too few layers, a site that is not there, or a tensor of a wrong shape.
    """
    manifest, facts = package.manifest, package.manifest.base
    if manifest.placement.exit == 0:
        return
    names: dict[str, object] = {"package": manifest.name, "wanted": facts.name, "base": base.name}
    for what, found, allowed in (
        ("width", base.width, facts.width),
        ("num_layers", base.num_layers, facts.num_layers),
        *zip(_digested(), base.layer_digests, facts.layer_digests, strict=False),
    ):
        if found != allowed:
            raise PackageError("package.other_base", what=what, found=found, allowed=allowed, **names)
    if base.anatomy.num_layers < manifest.placement.exit:
        raise PackageError(
            "package.few_layers", found=base.anatomy.num_layers, allowed=manifest.placement.exit, **names
        )
    if base.tokenizer_digest != facts.tokenizer_digest:
        raise PackageError(
            "package.other_tokenizer", found=base.tokenizer_digest, allowed=facts.tokenizer_digest, **names
        )
    for graft in package.grafts:
        where = f"{graft.layer}.{graft.site}"
        try:
            site = base.anatomy.site(graft.layer, graft.site)
        except BaseModelError:
            raise PackageError("package.no_site", site=f"layers.{where}", **names) from None
        for name, shape in graft.form.shapes(site.in_width, site.out_width).items():
            _check_shape(f"modules.{where}.{name}", package.tensors[f"modules.{where}.{name}"], shape)


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a safetensors file.

    Raises:
        MissingError: it is not there.
        PackageError: a pickle is there instead, the header is too long, or the file is cut or damaged.
    """
    if not path.is_file():
        pickles = sorted(p.name for p in path.parent.iterdir() if p.suffix in _PICKLES)
        if pickles:
            raise PackageError("package.pickle", path=path.parent / pickles[0], allowed=path.name)
        raise MissingError("package.no_tensors", path=path)
    with path.open("rb") as file:
        start = file.read(8)
        length, rest = int.from_bytes(start, "little"), path.stat().st_size - 8
        if length > min(MAX_HEADER_BYTES, rest):
            raise PackageError("package.header", path=path, found=length, allowed=max(0, min(MAX_HEADER_BYTES, rest)))
        content = start + file.read()
    try:
        tensors = dict(sorted(load(content).items()))
        # Strict about structure, so the header is JSON of little depth by now.
        header: dict[str, Any] = json.loads(content[8 : 8 + length])
    except (SafetensorError, ValueError, KeyError) as error:
        raise PackageError("package.damaged", path=path, reason=error) from None
    written = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    if content[8 : 8 + length].rstrip(b" ") != written:
        raise PackageError("package.damaged", path=path, reason="header")
    return header, tensors


def tensor_digest(tensor: Tensor) -> str:
    """sha256 over dtype, shape and bytes, as hexadecimal."""
    total = hashlib.sha256(f"{str(tensor.dtype).removeprefix('torch.')}{tuple(tensor.shape)}".encode())
    total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def write_folder(folder: Path, files: Mapping[str, bytes], replaceable: Sequence[str]) -> None:
    """Write a folder whose files are known.

    Args:
        folder: where; it may be empty, or hold an earlier one.
        files: content by name.
        replaceable: names that an earlier one may hold; it is known by the first.

    Raises:
        PackageError: something else is there.
        SpaceError: the disk is full.
        ConfigError: the folder cannot be written.
    """
    with drafted(folder, replaceable, needed_bytes=sum(map(len, files.values()))) as draft:
        for name, content in files.items():
            _write(draft / name, content)


@contextmanager
def drafted(folder: Path, replaceable: Sequence[str], needed_bytes: int = 0) -> Iterator[Path]:
    """A folder aside to write files into; it is put in place by a rename when the block ends, or vanishes if it fails.

    Args:
        folder: where; it may be empty, or hold an earlier one.
        replaceable: names that an earlier one may hold; it is known by the first.
        needed_bytes: that will be written, as far as that is known.

    Raises:
        PackageError: something else is there.
        SpaceError: the disk is full.
        ConfigError: the folder cannot be written.
    """
    place = folder.resolve()
    _check_replaceable(place, replaceable)
    draft = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")
    try:
        draft.mkdir(parents=True)
        yield draft
        for file in draft.iterdir():
            _sync(file)
        sync_folder(draft)
        _exchange(draft, place)
        sync_folder(place.parent)
    except TsugikiError:
        # Some of them are an OSError too, and have said it better.
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            written = sum(file.stat().st_size for file in draft.glob("*"))
            raise SpaceError("package.no_space", path=folder, needed=f"{max(needed_bytes, written):,}") from error
        raise ConfigError("package.not_writable", path=folder, reason=reason_of(error)) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _manifest(content: bytes, path: Path) -> Manifest:
    try:
        return Manifest.from_bytes(content, path=path)
    except PackageError:
        raise
    except (ValueError, RecursionError) as error:
        # Read by Python's JSON but not by anybody else's: NaN, half a surrogate pair, endless nesting.
        raise PackageError("package.not_json", path=path, reason=place_of(error)) from None


def _check_replaceable(place: Path, replaceable: Sequence[str]) -> None:
    if not place.exists():
        return
    found = sorted(p.name for p in place.iterdir()) if place.is_dir() else [place.name]
    foreign = [name for name in found if name not in replaceable]
    if found and (foreign or replaceable[0] not in found):
        raise PackageError("package.occupied", path=place, found=(foreign or found)[0])


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _exchange(draft: Path, place: Path) -> None:
    if not place.exists():
        draft.rename(place)
        return
    if swap(draft, place):
        return
    # Killed between these two, the older folder stays beside under its hidden name.
    old = draft.with_suffix(".old")
    place.rename(old)
    try:
        draft.rename(place)
    except BaseException:
        old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _check(manifest: Manifest, tensors: Mapping[str, Tensor]) -> None:
    """Refuse all that can be seen without a base."""
    _check_placement(manifest)
    shapes = _shapes(manifest)
    lexicon = {name for name in tensors if name.startswith("lexicon.")} if manifest.head.words is not None else set()
    _check_names(manifest, tensors, set(shapes), shapes.keys() | lexicon | _starting(tensors, "statistics."))
    for name, tensor in tensors.items():
        allowed = _DTYPES if name.startswith(_OPEN) else {torch.float32}
        if tensor.dtype not in allowed:
            raise PackageError("package.dtype", tensor=name, found=_dtypes({tensor.dtype}), allowed=_dtypes(allowed))
        if shape := shapes.get(name):
            _check_shape(name, tensor, shape)
        if not torch.isfinite(tensor).all():
            raise PackageError("package.not_finite", tensor=name, package=manifest.name)


def _check_placement(manifest: Manifest) -> None:
    name, placement = manifest.name, manifest.placement
    twice = [where for where, n in Counter((m.layer, m.site) for m in placement.modules).items() if n > 1]
    if twice:
        raise PackageError("package.twice", package=name, site="layers.{}.{}".format(*twice[0]))
    for module in placement.modules:
        if not placement.boundary <= module.layer < placement.exit:
            allowed = f"{placement.boundary}..{placement.exit - 1}"
            raise PackageError("package.module_outside", package=name, found=module.layer, allowed=allowed)
    for state in manifest.head.states:
        if not 0 <= state <= placement.exit:
            raise PackageError("package.state_outside", package=name, found=state, allowed=f"0..{placement.exit}")
    if placement.exit and len(manifest.base.layer_digests) <= placement.exit:
        found, wanted = len(manifest.base.layer_digests), placement.exit + 1
        raise PackageError("package.few_digests", package=name, found=found, allowed=wanted)


def _shapes(manifest: Manifest) -> dict[str, tuple[int, ...] | None]:
    """Every tensor that must be there, with its shape where that can be known without a base."""
    shapes: dict[str, tuple[int, ...] | None] = {}
    for module in manifest.placement.modules:
        for name in _form(module).shapes(1, 1):
            shapes[f"modules.{module.layer}.{module.site}.{name}"] = None
    head = manifest.head
    if head.states:
        try:
            reader = READERS.parse(head.reader)
        except ConfigError as error:
            raise PackageError("package.kind", where="head.reader", reason=error) from None
        for name, shape in reader.shapes(len(head.states), manifest.base.width).items():
            shapes[f"reader.{name}"] = shape
        labels = manifest.task.get("labels")
        num_classes = len(labels) if isinstance(labels, list | tuple) else 1
        shapes["head.weight"] = (num_classes, len(head.states) * manifest.base.width)
        shapes["head.bias"] = (num_classes,)
    return shapes


def _check_names(manifest: Manifest, tensors: Mapping[str, Tensor], needed: set[str], allowed: set[str]) -> None:
    if missing := sorted(needed - tensors.keys()):
        raise PackageError("package.missing_tensor", package=manifest.name, tensor=missing[0], count=len(missing))
    if unknown := sorted(tensors.keys() - allowed):
        raise PackageError("package.unknown_tensor", package=manifest.name, tensor=unknown[0], count=len(unknown))


def _check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise PackageError("package.shape", tensor=name, found=tuple(tensor.shape), allowed=shape)


def _form(module: ModuleFacts) -> Form:
    try:
        return FORMS.parse(module.form)
    except ConfigError as error:
        where = f"layers.{module.layer}.{module.site}"
        raise PackageError("package.kind", where=where, reason=error) from None


def _starting(tensors: Mapping[str, Tensor], start: str) -> set[str]:
    return {name for name in tensors if name.startswith(start)}


def _dtypes(dtypes: set[torch.dtype]) -> str:
    return ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))


def _digested() -> Iterator[str]:
    yield "embeddings"
    layer = 0
    while True:
        yield f"layers.{layer}"
        layer += 1
