"""Fresh modules on a model that somebody else's loop trains: what learns, what is saved, and the way back.

The model stays what it is, so whatever trains models trains this one. The modules are registered on it, where
optimisers and checkpoints find them, all else but a head of the task stands still, and transformers is told which
tensors to leave out of what it saves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from tsugiki.adapt.adapted import AdaptedModel, Graft
from tsugiki.adapt.modules import modules_only
from tsugiki.adapt.package import save_package
from tsugiki.base.anatomy import Anatomy
from tsugiki.base.model import Base, describe
from tsugiki.base.suffix import trunk
from tsugiki.errors import RoutingError
from tsugiki.report.card import card

_NAME = "grafted"
# Where the modules are registered on the model, and so the start of their names in its checkpoints.
_PLACE = "tsugiki"
# Of transformers: what `save_pretrained` leaves out, and what it does not miss when it goes on from a checkpoint.
_LEFT_OUT = "_keys_to_ignore_on_save"


@dataclass(frozen=True)
class _Before:
    """What a model was: which parameters learnt, and what transformers left out when it saved."""

    learning: list[nn.Parameter]
    left_out: Any


class Grafted:
    """A model whose modules learn, and nothing else but its head.

    Args:
        model: the model; a head of its task (`classifier`, `score`) learns along, one over the vocabulary does not.
        anatomy: of the model.
        grafts: the modules.
        seed: of their fresh tensors.

    Raises:
        RoutingError: the model is grafted already.
        BaseModelError: a site does not exist.
    """

    def __init__(self, model: nn.Module, anatomy: Anatomy, grafts: Sequence[Graft], seed: int = 0) -> None:
        if hasattr(model, _PLACE):
            raise RoutingError("graft.twice")
        self.model = model
        self.grafts = tuple(sorted(grafts, key=lambda graft: (graft.layer, graft.site)))
        self._before = _Before([p for p in model.parameters() if p.requires_grad], getattr(model, _LEFT_OUT, None))
        self._adapted = AdaptedModel(model, anatomy)
        self._adapted.attach(_NAME, self.grafts, seed=seed)
        self._adapted.use(_NAME)
        self._modules = nn.ModuleDict(
            {
                f"{layer}_{site.replace('.', '_')}": bank.part(_NAME)
                for (layer, site), bank in sorted(self._adapted.banks.items())
            }
        )
        _freeze(model, _heads(model, anatomy))
        model.add_module(_PLACE, self._modules)

    @property
    def num_trainable(self) -> int:
        """Number of parameters that learn: those of the modules, and of a head where there is one."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)

    def save(self, folder: str | Path, tokenizer: Any) -> None:
        """Write the modules as a package, for `tsugiki.attach` and `tsugiki export`.

        A head of the task is no part of it; it goes along in what the trainer saves.

        Args:
            folder: where; the package is called like it, and one that is there already is replaced.
            tokenizer: that the texts were read with.

        Raises:
            PackageError: a number is NaN or infinite, or something else is at the folder.
        """
        place = Path(folder)
        base = self._base(tokenizer)
        tensors = {f"modules.{name}": tensor.float() for name, tensor in self._adapted.tensors(_NAME).items()}
        save_package(place, modules_only(place.resolve().name, base, self.grafts, _NAME), tensors, card)

    def detach(self) -> nn.Module:
        """Take the modules off and give the model back: as it was, but for a head that has learnt."""
        delattr(self.model, _PLACE)
        setattr(self.model, _LEFT_OUT, self._before.left_out)
        self.model.requires_grad_(False)
        for parameter in self._before.learning:
            parameter.requires_grad_(True)
        return self._adapted.detach()

    def _base(self, tokenizer: Any) -> Base:
        config: Any = self.model.config
        name = str(getattr(config, "name_or_path", "") or type(self.model).__name__)
        # A base is known by its own weights.
        delattr(self.model, _PLACE)
        try:
            return describe(self.model, tokenizer, name=name)
        finally:
            self.model.add_module(_PLACE, self._modules)


def _heads(model: nn.Module, anatomy: Anatomy) -> list[nn.Module]:
    """What a task has put behind the trunk; a head over the vocabulary belongs to the base."""
    body = trunk(model)
    if body is model:
        return []
    parts = [part for part in model.children() if part is not body]
    if anatomy.head is None:
        return parts
    vocabulary = model.get_submodule(anatomy.head)
    return [part for part in parts if vocabulary not in part.modules()]


def _freeze(model: Any, heads: Sequence[nn.Module]) -> None:
    """Let nothing learn but the heads, and nothing else be saved."""
    model.requires_grad_(False)
    for head in heads:
        head.requires_grad_(True)
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    setattr(model, _LEFT_OUT, set(model.state_dict()) - learning)
