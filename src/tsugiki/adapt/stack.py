"""The modules of one form at one site as tensors with a leading axis, which hold each number once."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tsugiki.adapt.form import Form


class Stack:
    """E modules of one form.

    Where nothing is learnt the modules' own parameters become views of the stack, so that many modules take the memory
    of many modules, and not twice that. What learns is stacked anew in each pass, where the gradient can follow.

    Args:
        form: of all.
        modules: number of each in its bank.
        params: parameters of each.
    """

    def __init__(self, form: Form, modules: Sequence[int], params: Sequence[Mapping[str, nn.Parameter]]) -> None:
        self.form = form
        self.modules = tuple(modules)
        self._params = params
        self._held: dict[str, Tensor] = {}

    @property
    def params(self) -> dict[str, Tensor]:
        """(E, ...) by name."""
        if torch.is_grad_enabled() and any(p.requires_grad for own in self._params for p in own.values()):
            return {name: torch.stack([own[name] for own in self._params]) for name in self._params[0]}
        if not self._is_held():
            self._hold()
        return self._held

    def _hold(self) -> None:
        # What is made in inference mode could not be learnt on later.
        with torch.inference_mode(False), torch.no_grad():
            for name in self._params[0]:
                self._held[name] = torch.stack([own[name].detach() for own in self._params])
                for own, part in zip(self._params, self._held[name], strict=True):
                    own[name].data = part

    def _is_held(self) -> bool:
        """Whether the parameters are still views of the stack: who loads or moves one may give it memory of its own."""
        return all(
            own[name].data_ptr() == held.data_ptr() + number * held.stride(0) * held.element_size()
            for name, held in self._held.items()
            for number, own in enumerate(self._params)
        ) and bool(self._held)
