"""What a package says of itself that holds modules and nothing else: no rows, no head."""

from collections.abc import Sequence
from importlib.metadata import version

from tsugiki.adapt.adapted import Graft
from tsugiki.base.model import Base
from tsugiki.manifest import DataFacts, HeadFacts, Manifest, ModuleFacts, Placement


def modules_only(name: str, base: Base, grafts: Sequence[Graft], kind: str) -> Manifest:
    """The manifest of modules that were not trained by a run of ours.

    Args:
        name: of the adapter.
        base: that it belongs to, whole.
        grafts: the modules, at least one.
        kind: where they come from, such as `imported`.
    """
    modules = tuple(ModuleFacts(layer=g.layer, site=g.site, form=g.form.model_dump(mode="json")) for g in grafts)
    return Manifest(
        name=name,
        tsugiki_version=version("tsugiki"),
        task={"kind": kind},
        base=base.facts,
        placement=Placement(boundary=min(g.layer for g in grafts), exit=base.num_layers, modules=modules),
        head=HeadFacts(),
        variant=kind,
        training={},
        data=DataFacts(rows_digest="", num_train=0, num_validation=0, class_counts={}),
        metrics={},
    )
