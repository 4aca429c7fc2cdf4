"""Where modules are to stand: plans, and the family of strategies that make them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from tsugiki.adapt.adapted import Graft
from tsugiki.adapt.form import FORMS
from tsugiki.adapt.reader import READERS, Reader
from tsugiki.base.anatomy import RESIDUAL, Anatomy
from tsugiki.errors import ConfigError
from tsugiki.family import Family
from tsugiki.spec import Spec

if TYPE_CHECKING:
    from tsugiki.placement.ground import Ground

LINEAR = "linear"


@dataclass(frozen=True)
class Plan:
    """One candidate of a race.

    Args:
        variant: its name, such as `suffix 4/6` (boundary and exit).
        states: that the head reads, ascending; the last one is the exit.
        reader: how tokens are pooled.
        grafts: modules; none where states are only read.
        warm: whether training starts from the fitted head, or from a head of zeros, which is tried only where the
            fitted one fits its own rows far better than others.
        params: tensors to start from, named as in a package; empty for fresh modules.
        abreast: whether it is trained beside the others of its kind, of which the best goes on.
        control: whether it is there for the choice to be measured against.
        grouped: whether groups of modules, of which gates choose, stand beside those of the plan.
    """

    variant: str
    states: tuple[int, ...]
    reader: Reader
    grafts: tuple[Graft, ...] = ()
    warm: bool = True
    params: Mapping[str, Tensor] = field(default_factory=dict)
    abreast: bool = False
    control: bool = False
    grouped: bool = False

    def facts(self) -> dict[str, Any]:
        """As plain data, without tensors."""
        modules = [{"layer": g.layer, "site": g.site, "form": g.form.model_dump(mode="json")} for g in self.grafts]
        return {
            "variant": self.variant,
            "states": list(self.states),
            "reader": self.reader.model_dump(mode="json"),
            "modules": modules,
            "warm": self.warm,
            "abreast": self.abreast,
            "control": self.control,
        }


class Strategy(Spec):
    """Turns what the user gave into plans.

    Args:
        boundary: first adapted layer, or None.
        exit: first layer that is not run, or None for all layers.
        sites: of each adapted layer; `linear` stands for all its projections.
        form: `{kind, ...}` of every module.
    """

    kind: str
    boundary: int | None = None
    exit: int | None = None
    sites: tuple[str, ...]
    form: dict[str, object]

    def plans(self, anatomy: Anatomy) -> list[Plan]:
        """The plans, cheapest first; the head on its own is always tried and needs no plan."""
        raise NotImplementedError(type(self).__name__)

    def last(self, anatomy: Anatomy) -> int:
        """The exit.

        Raises:
            ConfigError: the base has fewer layers.
        """
        exit = self.exit or anatomy.num_layers
        if exit > anatomy.num_layers:
            raise ConfigError("placement.exit", found=exit, allowed=f"1..{anatomy.num_layers}")
        return exit

    def suffix(self, anatomy: Anatomy, boundary: int) -> Plan:
        """Modules at every site asked for from a boundary up to the exit.

        Raises:
            ConfigError: the boundary is not below the exit.
            BaseModelError: a layer has no such site.
        """
        exit = self.last(anatomy)
        if not 0 <= boundary < exit:
            raise ConfigError("placement.boundary", found=boundary, allowed=f"0..{exit - 1}", exit=exit)
        form = FORMS.parse(self.form)
        grafts = tuple(
            Graft(layer, site, form) for layer in range(boundary, exit) for site in self.sites_of(anatomy, layer)
        )
        for graft in grafts:
            anatomy.site(graft.layer, graft.site)
        return Plan(f"suffix {boundary}/{exit}", head_states(exit), READERS.parse({"kind": "mean"}), grafts)

    def sites_of(self, anatomy: Anatomy, layer: int) -> list[str]:
        """Names of the sites of a layer, each once, `linear` replaced by what it stands for."""
        projections = [site.name for site in anatomy.sites[layer] if site.name != RESIDUAL]
        return list(dict.fromkeys(n for name in self.sites for n in (projections if name == LINEAR else [name])))


class Informed(Strategy):
    """A strategy that looks at the ground first, which takes seconds."""

    def plans_on(self, ground: "Ground") -> list[Plan]:
        """As `plans`, from what was found out about base, rows and machine."""
        raise NotImplementedError(type(self).__name__)


STRATEGIES: Family[Strategy] = Family("tsugiki.placement.strategies", Strategy)


def plan_of(facts: Mapping[str, Any]) -> Plan:
    """The plan that was written down."""
    grafts = tuple(Graft(m["layer"], m["site"], FORMS.parse(m["form"])) for m in facts["modules"])
    reader, flags = READERS.parse(facts["reader"]), {name: facts[name] for name in ("warm", "abreast", "control")}
    return Plan(facts["variant"], tuple(facts["states"]), reader, grafts, **flags)


def readouts(anatomy: Anatomy, exit: int) -> list[Plan]:
    """Plans that read states and leave the base untouched."""
    # Each query pools its own share of the channels.
    reader = READERS.parse({"kind": "readout", "queries": math.gcd(8, anatomy.width)})
    states = head_states(exit)
    return [Plan("readout", states, reader), Plan("readout fresh", states, reader, warm=False)]


def head_states(exit: int) -> tuple[int, ...]:
    """The states a head reads: three, spread evenly up to the exit.

    On five sets they score like all states together, at under half the width; `explanation/measurements` has the table.
    """
    return tuple(sorted({max(1, exit // 3), max(1, 2 * exit // 3), exit}))
