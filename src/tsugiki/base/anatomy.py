"""Where the layers, sites, final norm and head of a base stand, found by looking at its structure.

No table of model names: layers are the list of modules that is as long as the configuration says, projections are what
has an input and an output width, and their role follows from where they stand, what they are called there and how wide
they are. A fused projection is split into slices only where its layout is known to be one block after the other; one
that interleaves heads (GPT-NeoX) is a single site.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from tsugiki.errors import BaseModelError

RESIDUAL = "residual"

# What projections are called inside an attention block; the last part of their path decides.
_ATTENTION = {
    "query": {"q_proj", "query", "query_proj", "q_lin", "q"},
    "key": {"k_proj", "key", "key_proj", "k_lin", "k"},
    "value": {"v_proj", "value", "value_proj", "v_lin", "v"},
    "output": {"o_proj", "out_proj", "dense", "c_proj", "Wo", "out_lin", "o"},
}
_BLOCKWISE_QKV = {"qkv_proj", "c_attn", "Wqkv"}
_BLOCKWISE_GATE_UP = {"gate_up_proj", "Wi"}


@dataclass(frozen=True)
class Site:
    """A named sublayer of one layer where a module may attach.

    Args:
        name: role, such as `attention.query`, `mlp.down` or `residual`.
        path: of the torch module, relative to the layer; empty for the layer itself.
        in_width: width I of what the sublayer reads.
        out_width: width O of what the module adds to.
        start: first output channel of the slice, where the projection is fused.
        fused: whether the torch module has more outputs than this site.
    """

    name: str
    path: str
    in_width: int
    out_width: int
    start: int = 0
    fused: bool = False


@dataclass(frozen=True)
class Anatomy:
    """The parts of a base by path.

    Args:
        layers_path: of the list of layers.
        sites: per layer, its sites in order of execution, the residual stream last.
        width: of the residual stream.
        final_norm: path of the norm behind the last layer, where there is one.
        head: path of the vocabulary head, where there is one.
        causal: whether a position sees only what is before it.
    """

    layers_path: str
    sites: tuple[tuple[Site, ...], ...]
    width: int
    final_norm: str | None
    head: str | None
    causal: bool

    @property
    def num_layers(self) -> int:
        """Number of layers L."""
        return len(self.sites)

    def site(self, layer: int, name: str) -> Site:
        """One site by name.

        Raises:
            BaseModelError: the layer has no such site.
        """
        if 0 <= layer < self.num_layers:
            for site in self.sites[layer]:
                if site.name == name:
                    return site
        allowed = ", ".join(s.name for s in self.sites[min(max(layer, 0), self.num_layers - 1)])
        raise BaseModelError("base.no_site", site=f"layers.{layer}.{name}", last=self.num_layers - 1, allowed=allowed)


def find_anatomy(model: nn.Module) -> Anatomy:
    """Look at `model` and name its parts.

    Raises:
        BaseModelError: an encoder-decoder, or no list of layers can be told apart.
    """
    config: Any = getattr(model, "config", None)
    if getattr(config, "is_encoder_decoder", False):
        raise BaseModelError("base.encoder_decoder", architecture=type(model).__name__)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    path, layers = _find_layers(model, getattr(config, "num_hidden_layers", 0))
    if _is_first_special(layers):
        raise BaseModelError("base.first_layer", architecture=type(model).__name__)
    parent = model.get_submodule(path.rpartition(".")[0])
    head = _output_embeddings(model)
    return Anatomy(
        layers_path=path,
        sites=tuple(tuple(sorted(_sites(layer, config), key=_turn)) for layer in layers),
        width=config.hidden_size,
        final_norm=_final_norm(model, parent, layers, config.hidden_size),
        head=_path_of(model, head) if head is not None else None,
        causal=_is_causal(model, config),
    )


def _find_layers(model: nn.Module, depth: int) -> tuple[str, nn.ModuleList]:
    lists = [(p, m) for p, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == depth > 0]
    # Experts stand inside layers: an outer list wins over the lists that it contains.
    outer = [(p, m) for p, m in lists if not any(p.startswith(f"{q}.") for q, _ in lists)]
    if len(outer) != 1:
        found = ", ".join(p for p, _ in outer) or "-"
        raise BaseModelError("base.no_layers", architecture=type(model).__name__, depth=depth, found=found)
    return outer[0]


def _is_first_special(layers: nn.ModuleList) -> bool:
    """Whether the first layer makes position biases that those above it use (T5): above a boundary there are none."""
    biased = [any(path.endswith("relative_attention_bias") for path, _ in layer.named_modules()) for layer in layers]
    return len(biased) > 1 and biased[0] and not biased[1]


def _output_embeddings(model: Any) -> nn.Module | None:
    found: nn.Module | None = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return found


def _final_norm(model: nn.Module, parent: nn.Module, layers: nn.ModuleList, width: int) -> str | None:
    """The norm that stands right behind the layers; DeBERTa has one further behind, for its position embeddings."""
    children = list(parent.children())
    for child in children[children.index(layers) + 1 :][:1]:
        weight = getattr(child, "weight", None)
        if weight is not None and weight.dim() == 1 and weight.shape[0] == width:
            return _path_of(model, child)
    return None


def _is_causal(model: nn.Module, config: Any) -> bool:
    flags = [flag for m in model.modules() if isinstance(flag := getattr(m, "is_causal", None), bool)]
    return flags[0] if flags else bool(getattr(config, "is_decoder", False))


def _path_of(model: nn.Module, part: nn.Module) -> str | None:
    return next((path for path, module in model.named_modules() if module is part), None)


def _widths(module: nn.Module) -> tuple[int, int] | None:
    """(in, out) of anything that projects: Linear, transformers' Conv1D, and quantised layers by their attributes."""
    for reads, writes in (("in_features", "out_features"), ("nx", "nf")):
        widths = getattr(module, reads, None), getattr(module, writes, None)
        if isinstance(widths[0], int) and isinstance(widths[1], int):
            return widths[0], widths[1]
    return None


def _sites(layer: nn.Module, config: Any) -> Iterator[Site]:
    width = int(config.hidden_size)
    experts = _expert_block(layer)
    for path, module in layer.named_modules():
        if path == experts:
            yield Site("mlp", path, width, width)
        if experts is not None and (path == experts or path.startswith(f"{experts}.")):
            continue
        widths = _widths(module)
        if widths is None:
            continue
        if any("attn" in part.lower() or "attention" in part.lower() for part in path.split(".")):
            yield from _attention_sites(path, *widths, config)
        else:
            yield from _mlp_sites(path, *widths, width)
    yield Site(RESIDUAL, "", width, width)


def _turn(site: Site) -> int:
    """When a site has its turn in a layer; modules are listed as they were made, not as they run (Phi3)."""
    roles = ("attention.query", "attention.key", "attention.value", "attention.qkv", "attention.output")
    return (*roles, "mlp", "mlp.gate", "mlp.up", "mlp.down", RESIDUAL).index(site.name)


def _expert_block(layer: nn.Module) -> str | None:
    """Path of a mixture-of-experts block: the shortest one that holds the experts."""
    inner = [path for path, _ in layer.named_modules() if path.rpartition(".")[2] == "experts"]
    return inner[0].rpartition(".")[0] if inner else None


def _attention_sites(path: str, in_width: int, out_width: int, config: Any) -> Iterator[Site]:
    leaf = path.rpartition(".")[2]
    for role, names in _ATTENTION.items():
        if leaf in names:
            yield Site(f"attention.{role}", path, in_width, out_width)
            return
    heads = int(config.num_attention_heads)
    kv_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    head_width = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    query, kv = heads * head_width, kv_heads * head_width
    if leaf in _BLOCKWISE_QKV and query + 2 * kv == out_width:
        yield Site("attention.query", path, in_width, query, 0, True)
        yield Site("attention.key", path, in_width, kv, query, True)
        yield Site("attention.value", path, in_width, kv, query + kv, True)
    elif out_width == query + 2 * kv:
        yield Site("attention.qkv", path, in_width, out_width)


def _mlp_sites(path: str, in_width: int, out_width: int, width: int) -> Iterator[Site]:
    leaf = path.rpartition(".")[2]
    if leaf in _BLOCKWISE_GATE_UP and out_width % 2 == 0:
        half = out_width // 2
        yield Site("mlp.gate", path, in_width, half, 0, True)
        yield Site("mlp.up", path, in_width, half, half, True)
    elif in_width == width and out_width != width:
        yield Site("mlp.gate" if "gate" in leaf else "mlp.up", path, in_width, out_width)
    elif out_width == width and in_width != width:
        yield Site("mlp.down", path, in_width, out_width)
