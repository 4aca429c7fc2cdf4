"""The saved form of an adapter: a folder with its manifest, its tensors and a model card.

What is loaded comes from anywhere, so nothing is believed: the tensors must be exactly those that the manifest calls
for, with its digests, and the header of their file carries the digest of the manifest, so that the two belong together
and no byte of either can change unseen. Nothing is unpickled or unpacked.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from tsugiki.adapt.adapted import Graft
from tsugiki.adapt.groups import Group
from tsugiki.adapt.package_checks import check_contents, check_names, form_of
from tsugiki.adapt.tensors import part, read_tensors, tensor_digest
from tsugiki.drafts import write_folder
from tsugiki.errors import MissingError, PackageError, place_of
from tsugiki.manifest import Manifest, ModuleFacts

FILES = MANIFEST, TENSORS, CARD = "adapter.json", "adapter.safetensors", "README.md"
# Of a set of adapters, which is another thing than one.
SET = "composition.json"


@dataclass(frozen=True)
class Package:
    """An adapter as it is kept and shipped.

    Args:
        manifest: what it says of itself.
        tensors: by name: `modules.LAYER.SITE.PARAMETER`, `groups.NUMBER.LAYER.SITE.PARAMETER`, `gates.*`, `reader.*`,
            `head.weight` (C, F), `head.bias` (C,), `lexicon.*` and `statistics.*`.
        digest: of the manifest, which names the digest of every tensor.
    """

    manifest: Manifest
    tensors: dict[str, Tensor]
    digest: str

    @cached_property
    def grafts(self) -> list[Graft]:
        """The modules that always act, as `AdaptedModel.attach` takes them."""
        return list(map(_graft, self.manifest.placement.modules))

    @cached_property
    def groups(self) -> list[Group]:
        """Modules that act on some inputs only."""
        routing = self.manifest.routing
        return [] if routing is None else [Group(g.domain, tuple(map(_graft, g.modules))) for g in routing.groups]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of one part (`modules`, `reader`, `head`, ...), named without it."""
        return part(self.tensors, name)


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
    check_contents(filled, kept)
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
    if (folder / SET).is_file():
        raise PackageError("package.is_set", path=folder)
    if not (folder / MANIFEST).is_file():
        raise MissingError("package.no_manifest", path=folder / MANIFEST)
    content = (folder / MANIFEST).read_bytes()
    manifest = _manifest(content, folder / MANIFEST)
    digest = hashlib.sha256(content).hexdigest()
    header, tensors = read_tensors(folder / TENSORS)
    saved_with = header.get("__metadata__", {}).get("manifest")
    if saved_with != digest:
        raise PackageError("package.not_together", path=folder, found=digest, allowed=saved_with)
    check_names(manifest, tensors, set(manifest.tensors), set(manifest.tensors))
    for name, tensor in tensors.items():
        if tensor_digest(tensor) != manifest.tensors[name]:
            raise PackageError("package.digest", path=folder / TENSORS, tensor=name)
    check_contents(manifest, tensors)
    return Package(manifest, tensors, digest)


def _graft(module: ModuleFacts) -> Graft:
    return Graft(module.layer, module.site, form_of(module))


def _manifest(content: bytes, path: Path) -> Manifest:
    try:
        return Manifest.from_bytes(content, path=path)
    except PackageError:
        raise
    except (ValueError, RecursionError) as error:
        # Read by Python's JSON but not by anybody else's: NaN, half a surrogate pair, endless nesting.
        raise PackageError("package.not_json", path=path, reason=place_of(error)) from None
