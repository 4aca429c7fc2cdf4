"""What a package is refused for: a manifest and tensors that do not belong together, and a base that is another."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tsugiki.adapt.adapted import Graft
from tsugiki.adapt.form import FORMS, Form
from tsugiki.adapt.gates import gate_shapes
from tsugiki.adapt.reader import READERS
from tsugiki.adapt.router import ROUTERS
from tsugiki.base.model import Base
from tsugiki.errors import BaseModelError, ConfigError, PackageError, RoutingError
from tsugiki.manifest import Manifest, ModuleFacts

if TYPE_CHECKING:
    from tsugiki.adapt.package import Package

# Of lexicon and statistics; all that is trained is float32.
_DTYPES = {torch.float16, torch.float32, torch.float64, torch.uint8, torch.int32, torch.int64}
# Rooms of tensors whose number and shapes only their reader knows.
_OPEN = ("lexicon.", "statistics.")


def check_contents(manifest: Manifest, tensors: Mapping[str, Tensor]) -> None:
    """See that tensors are those of a manifest, as far as that can be seen without a base.

    Raises:
        PackageError: a tensor is missing, too many, of a wrong shape or type, or not finite; or the manifest
            contradicts itself.
    """
    _check_placement(manifest)
    shapes = _shapes(manifest)
    lexicon = {name for name in tensors if name.startswith("lexicon.")} if manifest.head.words is not None else set()
    check_names(manifest, tensors, set(shapes), shapes.keys() | lexicon | _starting(tensors, "statistics."))
    for name, tensor in tensors.items():
        allowed = _DTYPES if name.startswith(_OPEN) else {torch.float32}
        if tensor.dtype not in allowed:
            raise PackageError("package.dtype", tensor=name, found=_dtypes({tensor.dtype}), allowed=_dtypes(allowed))
        if shape := shapes.get(name):
            _check_shape(name, tensor, shape)
        if not torch.isfinite(tensor).all():
            raise PackageError("package.not_finite", tensor=name, package=manifest.name)


def check_base(package: "Package", base: Base) -> None:
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
    widths: dict[str, int] = {}
    for start, module in _modules(manifest):
        where, form = f"{module.layer}.{module.site}", form_of(module)
        try:
            site = base.anatomy.site(module.layer, module.site)
        except BaseModelError:
            raise PackageError("package.no_site", site=f"layers.{where}", **names) from None
        for name, shape in form.shapes(site.in_width, site.out_width).items():
            _check_shape(f"{start}.{where}.{name}", package.tensors[f"{start}.{where}.{name}"], shape)
        widths[where] = site.in_width
    for name, shape in _gates(manifest, widths).items():
        _check_shape(f"gates.{name}", package.tensors[f"gates.{name}"], shape)


def require_ungrouped(package: "Package", use: str) -> None:
    """Refuse a package with groups of modules where only modules that always act can be had.

    Raises:
        PackageError: it has some.
    """
    if package.manifest.routing is not None:
        raise PackageError("package.grouped", package=package.manifest.name, use=use)


def _modules(manifest: Manifest) -> Iterator[tuple[str, ModuleFacts]]:
    """Every module, also those of groups, with the start of its tensors' names."""
    for module in manifest.placement.modules:
        yield "modules", module
    for number, group in enumerate(manifest.routing.groups if manifest.routing else ()):
        for module in group.modules:
            yield f"groups.{number}", module


def _gates(manifest: Manifest, widths: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Shapes of gates, whose sites have these I; 0 where that cannot be known without a base."""
    routing = manifest.routing
    if routing is None:
        return {}
    modules = [module for group in routing.groups for module in group.modules]
    sites = {f"{m.layer}.{m.site}": widths.get(f"{m.layer}.{m.site}", 0) for m in modules}
    return gate_shapes(routing.route_by, len(routing.domains), len(routing.groups), manifest.base.width, sites)


def _check_placement(manifest: Manifest) -> None:
    name, placement = manifest.name, manifest.placement
    of_each = Counter((start, module.layer, module.site) for start, module in _modules(manifest))
    twice = [where for (_, *where), n in of_each.items() if n > 1]
    if twice:
        raise PackageError("package.twice", package=name, site="layers.{}.{}".format(*twice[0]))
    if not 0 <= placement.boundary <= placement.exit:
        raise PackageError("package.boundary", package=name, found=placement.boundary, allowed=f"0..{placement.exit}")
    for _, module in _modules(manifest):
        if not placement.boundary <= module.layer < placement.exit:
            allowed = f"{placement.boundary}..{placement.exit - 1}"
            raise PackageError("package.module_outside", package=name, found=module.layer, allowed=allowed)
    if manifest.routing is not None:
        named = [group.domain is not None for group in manifest.routing.groups]
        if named != sorted(named, reverse=True):
            raise PackageError("package.groups", package=name)
        try:
            router = ROUTERS.parse(manifest.routing.router)
            for shape in _gates(manifest, {}).values():
                router.decided(torch.zeros(1, shape[0]))
        except (ConfigError, RoutingError) as error:
            raise PackageError("package.kind", where="routing.router", reason=error) from None
    for state in manifest.head.states:
        if not 0 <= state <= placement.exit:
            raise PackageError("package.state_outside", package=name, found=state, allowed=f"0..{placement.exit}")
    if placement.exit and len(manifest.base.layer_digests) <= placement.exit:
        found, wanted = len(manifest.base.layer_digests), placement.exit + 1
        raise PackageError("package.few_digests", package=name, found=found, allowed=wanted)


def _shapes(manifest: Manifest) -> dict[str, tuple[int, ...] | None]:
    """Every tensor that must be there, with its shape where that can be known without a base."""
    shapes: dict[str, tuple[int, ...] | None] = {}
    for start, module in _modules(manifest):
        for name in form_of(module).shapes(1, 1):
            shapes[f"{start}.{module.layer}.{module.site}.{name}"] = None
    for name, shape in _gates(manifest, {}).items():
        shapes[f"gates.{name}"] = None if 0 in shape else shape
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


def check_names(manifest: Manifest, tensors: Mapping[str, Tensor], needed: set[str], allowed: set[str]) -> None:
    """See that all needed tensors are there, and none but the allowed ones.

    Raises:
        PackageError: one is missing, or too many.
    """
    if missing := sorted(needed - tensors.keys()):
        raise PackageError("package.missing_tensor", package=manifest.name, tensor=missing[0], count=len(missing))
    if unknown := sorted(tensors.keys() - allowed):
        raise PackageError("package.unknown_tensor", package=manifest.name, tensor=unknown[0], count=len(unknown))


def _check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise PackageError("package.shape", tensor=name, found=tuple(tensor.shape), allowed=shape)


def form_of(module: ModuleFacts) -> Form:
    """The form that a manifest names for a module.

    Raises:
        PackageError: there is no such form, or not with these settings.
    """
    try:
        return FORMS.parse(module.form)
    except ConfigError as error:
        where = f"layers.{module.layer}.{module.site}"
        raise PackageError("package.kind", where=where, reason=error) from None


def facts_of(graft: Graft) -> ModuleFacts:
    """A module as a manifest names it."""
    return ModuleFacts(layer=graft.layer, site=graft.site, form=graft.form.model_dump(mode="json"))


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
