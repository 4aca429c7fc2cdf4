# ruff: noqa: N999 (commands are named after their files, and nobody imports this one by a statement)
"""`tsugiki import`: bring in a LoRA that was trained with PEFT, or a package that was exported to it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsugiki.cli.answer import Answer
from tsugiki.cli.options import BaseOption, OutOption
from tsugiki.errors import ConfigError, MissingError, PackageError, place_of
from tsugiki.i18n import text as say
from tsugiki.manifest import HeadFacts, Manifest

if TYPE_CHECKING:
    from torch import Tensor

    from tsugiki.adapt.adapted import Graft
    from tsugiki.base.model import Base

EXAMPLE = "tsugiki import my-lora --base ./my-model --out my-adapter"


def run(
    folder: Annotated[Path, typer.Argument(metavar="PATH")],
    out: OutOption,
    base: BaseOption = None,
) -> Answer:
    """Turn a folder of PEFT into a package on the base it names, or the one given."""
    from tsugiki.adapt.package import save_package
    from tsugiki.adapt.peft import import_peft
    from tsugiki.base.model import load_base
    from tsugiki.report.card import card

    # Digests are taken from bfloat16, and nothing is computed here.
    loaded = load_base(base or _named(folder), precision="bf16")
    grafts, params = import_peft(folder, loaded)
    facts, head = _head(folder)
    manifest = _manifest(out.resolve().name, loaded, grafts, facts)
    tensors = {f"modules.{name}": tensor for name, tensor in params.items()} | head
    save_package(out, manifest, tensors, card)
    told = {"out": str(out), "name": manifest.name, "count": len(grafts)}
    return Answer(told, say("cli.import.done" if facts else "cli.import.done_modules", **told))


def _named(folder: Path) -> str:
    """The base that PEFT's configuration names."""
    from tsugiki.adapt.peft import CONFIG

    path = folder / CONFIG
    if not path.is_file():
        raise MissingError("package.no_peft", path=path)
    try:
        name = dict(json.loads(path.read_bytes())).get("base_model_name_or_path")
    except (TypeError, ValueError) as error:
        raise PackageError("package.not_json", path=path, reason=place_of(error)) from None
    if not name:
        raise ConfigError("cli.no_base_named", path=path)
    return str(name)


def _head(folder: Path) -> tuple[dict[str, Any], "dict[str, Tensor]"]:
    """States, reader and task of the head that an export of ours carries along, and its tensors."""
    from tsugiki.adapt.head_file import HEAD
    from tsugiki.adapt.tensors import read_tensors

    if not (folder / HEAD).is_file():
        return {}, {}
    header, tensors = read_tensors(folder / HEAD)
    try:
        facts = dict(json.loads(header["__metadata__"]["tsugiki"]))
        task, states = dict(facts["task"]), [int(state) for state in facts["states"]]
        reader = dict(facts.get("reader", {"kind": "mean"}))
    except (KeyError, TypeError, ValueError) as error:
        raise PackageError("package.not_json", path=folder / HEAD, reason=place_of(error)) from None
    parts = {name: "head" if name in ("weight", "bias") else "reader" for name in tensors}
    named = {f"{parts[name]}.{name}": tensor for name, tensor in tensors.items()}
    return {"task": task, "states": states, "reader": reader}, named


def _manifest(name: str, base: "Base", grafts: "list[Graft]", head: dict[str, Any]) -> Manifest:
    from tsugiki.adapt.modules import modules_only
    from tsugiki.base.tokens import MAX_LENGTH

    manifest = modules_only(name, base, grafts, "imported")
    if not head:
        return manifest
    states = tuple(head["states"])
    top = max([*states, *(g.layer + 1 for g in grafts)])
    task = {**head["task"], "max_length": min(MAX_LENGTH, base.max_length)}
    placement = manifest.placement.model_copy(update={"exit": top})
    return manifest.model_copy(
        update={"task": task, "placement": placement, "head": HeadFacts(states=states, reader=head["reader"])}
    )
