"""Run only a part of the layers, from a stored state if there is one.

The model's own `forward` runs, since it builds masks, rotary tables and position ids. For the call, layers outside
`boundary .. exit-1` are stand-ins that hand their hidden state on, and the stored state enters by a pre-hook on the
layer at the boundary. State `s` is the residual stream that enters layer `s`; state `L` leaves the last layer, before
any final norm.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from tsugiki.base.anatomy import Anatomy


class StandIn(nn.Module):
    """Takes a layer's place, answers for its attributes and returns the hidden state untouched."""

    def __init__(self, layer: nn.Module, returns_tuple: bool) -> None:
        super().__init__()
        # Past nn.Module's registration: a stand-in owns no parameters.
        self.__dict__["layer"] = layer
        self.returns_tuple = returns_tuple

    def __getattr__(self, name: str) -> Any:
        """Look-ups such as `attention_type` go to the layer that is replaced."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["layer"], name)

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Any:
        """The identity."""
        return (hidden_states, None) if self.returns_tuple else hidden_states


def trunk(model: nn.Module) -> nn.Module:
    """The part of a model that ends with hidden states, without vocabulary or task head."""
    return getattr(model, "base_model", model)


def layers_of(model: nn.Module, anatomy: Anatomy) -> nn.ModuleList:
    """The list of layers."""
    found = model.get_submodule(anatomy.layers_path)
    assert isinstance(found, nn.ModuleList)
    return found


def layers_paths(model: nn.Module, anatomy: Anatomy) -> tuple[str, str]:
    """Path of the list of layers in the trunk alone, and in a model with a head on it."""
    prefix = str(getattr(model, "base_model_prefix", ""))
    path = anatomy.layers_path
    if trunk(model) is not model:
        path = path.removeprefix(f"{prefix}.")
    return path, f"{prefix}.{path}".lstrip(".")


def run_states(
    model: nn.Module,
    anatomy: Anatomy,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    keep: Collection[int],
    *,
    boundary: int = 0,
    state: Tensor | None = None,
) -> dict[int, Tensor]:
    """Run the layers from `boundary` up to the highest state asked for.

    Args:
        model: the base, possibly adapted.
        anatomy: of `model`.
        input_ids: token ids, (B, S).
        attention_mask: 1 for tokens, 0 for padding, (B, S); None where nothing is padded.
        keep: states to return.
        boundary: first layer to run.
        state: state `boundary`, (B, S, d); needed where `boundary` is above 0.

    Returns:
        Each state asked for, (B, S, d).

    Raises:
        ValueError: a state below the boundary is asked for, or the one at the boundary is not given.
    """
    if min(keep) < boundary or (boundary and state is None):
        raise ValueError(f"states {sorted(keep)} cannot be run from a boundary of {boundary} and its state")
    with only_layers(model, anatomy, boundary, max(keep), state), _recording(model, anatomy, keep) as seen:
        trunk(model)(input_ids=input_ids, attention_mask=attention_mask, **_quiet(model))
    return seen


def _quiet(model: nn.Module) -> dict[str, Any]:
    # Encoders have no key/value cache and some refuse the word.
    return {"use_cache": False} if hasattr(getattr(model, "config", None), "use_cache") else {}


@contextmanager
def only_layers(
    model: nn.Module, anatomy: Anatomy, boundary: int, exit: int, state: Tensor | None = None
) -> Iterator[None]:
    """Within the block, `model` runs layers `boundary .. exit-1` alone and starts them from `state`."""
    layers = layers_of(model, anatomy)
    own = list(layers)
    hook = None
    try:
        for index, layer in enumerate(own):
            if not boundary <= index < exit:
                layers[index] = StandIn(layer, _returns_tuple(layer))
        if state is not None:
            hook = _let_enter(layers, boundary, state)
        yield
    finally:
        for index, layer in enumerate(own):
            layers[index] = layer
        if hook is not None:
            hook.remove()


def _let_enter(layers: nn.ModuleList, boundary: int, state: Tensor) -> RemovableHandle:
    """Put a state in front of the layer at the boundary; behind the last one where the boundary lies above it."""

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (state, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": state}

    def leave(_: nn.Module, __: Any, output: Any) -> Any:
        return state if isinstance(output, Tensor) else (state, *output[1:])

    if boundary < len(layers):
        return layers[boundary].register_forward_pre_hook(enter, with_kwargs=True)
    return layers[-1].register_forward_hook(leave)


def _returns_tuple(layer: nn.Module) -> bool:
    # DeBERTa's layers are unpacked by their encoder; every other family hands the tensor on.
    return "Deberta" in type(layer).__name__


@contextmanager
def _recording(model: nn.Module, anatomy: Anatomy, keep: Collection[int]) -> Iterator[dict[int, Tensor]]:
    """Collect states where they enter a layer, the last one where it leaves."""
    seen: dict[int, Tensor] = {}
    layers = layers_of(model, anatomy)

    def entering(index: int) -> Any:
        def look(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            seen[index] = args[0] if args else kwargs["hidden_states"]

        return look

    def leaving(_: nn.Module, __: Any, output: Any) -> None:
        seen[len(layers)] = output if isinstance(output, Tensor) else output[0]

    hooks = [layers[s].register_forward_pre_hook(entering(s), with_kwargs=True) for s in keep if s < len(layers)]
    if len(layers) in keep:
        hooks.append(layers[-1].register_forward_hook(leaving))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
