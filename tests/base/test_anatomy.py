from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, T5Config, T5EncoderModel, T5Model

from tests.support.models import DECODERS, ENCODERS, FAMILIES, LAYERS, WIDTH, inputs, tiny
from tsugiki.base.anatomy import Site, find_anatomy
from tsugiki.base.suffix import layers_of
from tsugiki.errors import BaseModelError

INNER, KV = 48, 16  # of the tiny models: width of the MLP, and of keys and values where heads share them

_QUERY, _OUTPUT = ("attention.query", WIDTH, WIDTH), ("attention.output", WIDTH, WIDTH)
_UP, _DOWN = ("mlp.up", WIDTH, INNER), ("mlp.down", INNER, WIDTH)
_GATE, _RESIDUAL = ("mlp.gate", WIDTH, INNER), ("residual", WIDTH, WIDTH)
_GROUPED = [_QUERY, ("attention.key", WIDTH, KV), ("attention.value", WIDTH, KV), _OUTPUT]
_FULL = [_QUERY, ("attention.key", WIDTH, WIDTH), ("attention.value", WIDTH, WIDTH), _OUTPUT]
_LLAMA = [*_GROUPED, _GATE, _UP, _DOWN, _RESIDUAL]
_BERT = [*_FULL, _UP, _DOWN, _RESIDUAL]

SITES = {
    **dict.fromkeys(("llama", "qwen3", "gemma3_text", "mistral", "phi3"), _LLAMA),
    "mixtral": [*_GROUPED, ("mlp", WIDTH, WIDTH), _RESIDUAL],
    "gpt2": _BERT,
    "gpt_neox": [("attention.qkv", WIDTH, 3 * WIDTH), _OUTPUT, _UP, _DOWN, _RESIDUAL],
    **dict.fromkeys(("bert", "roberta", "deberta-v2"), _BERT),
    "modernbert": [*_FULL, _GATE, _UP, _DOWN, _RESIDUAL],
}
LISTS = {"gpt2": "h"} | dict.fromkeys(("bert", "roberta", "deberta-v2"), "encoder.layer")
NORMS = {"gpt2": "ln_f", "gpt_neox": "final_layer_norm", "modernbert": "final_norm"}
HEADS = {
    "bert": "cls.predictions.decoder",
    "roberta": "lm_head.decoder",
    "modernbert": "decoder",
    "deberta-v2": "cls.predictions.decoder",
}
FUSED = ["phi3", "gpt2", "modernbert"]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_has_the_sites_of_its_family(family):
    anatomy = find_anatomy(tiny(family))

    assert anatomy.num_layers == LAYERS and anatomy.width == WIDTH
    for layer in anatomy.sites:
        assert [(site.name, site.in_width, site.out_width) for site in layer] == SITES[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_norm_and_head_are_where_the_family_has_them(family):
    bare, headed = find_anatomy(tiny(family)), find_anatomy(tiny(family, head=True))

    assert bare.layers_path == LISTS.get(family, "layers")
    without_norm = family in ("bert", "roberta", "deberta-v2")
    assert bare.final_norm == (None if without_norm else NORMS.get(family, "norm"))
    assert bare.head is None
    assert headed.head == HEADS.get(family, "lm_head")
    assert headed.sites == bare.sites
    assert headed.layers_path.endswith(f".{bare.layers_path}")


@pytest.mark.parametrize("family", FAMILIES)
def test_decoders_are_causal_and_encoders_are_not(family):
    assert find_anatomy(tiny(family)).causal is (family in DECODERS)
    assert find_anatomy(tiny(family, head=True)).causal is (family in DECODERS)
    assert (family in ENCODERS) is (family not in DECODERS)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_site_reads_and_returns_what_its_widths_say_and_sites_run_in_their_order(family):
    model = tiny(family)
    anatomy = find_anatomy(model)
    layer = layers_of(model, anatomy)[2]
    paths = list(dict.fromkeys(site.path for site in anatomy.sites[2]))
    seen: dict[str, tuple[int, int]] = {}

    def watch(path: str) -> Any:
        def look(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            x = args[0] if args else next(iter(kwargs.values()))
            y = output if isinstance(output, torch.Tensor) else output[0]
            seen[path] = x.shape[-1], y.shape[-1]

        return look

    for path in paths:
        layer.get_submodule(path).register_forward_hook(watch(path), with_kwargs=True)
    model(**inputs())

    assert list(seen) == paths
    for path in paths:
        at = [site for site in anatomy.sites[2] if site.path == path]
        assert {site.in_width for site in at} == {seen[path][0]}
        # Sites of one projection lie end to end and leave no channel out.
        assert [site.start for site in at] == [sum(s.out_width for s in at[:i]) for i in range(len(at))]
        assert sum(site.out_width for site in at) == seen[path][1]
        assert all(site.fused is (len(at) > 1) for site in at)


# --- fused projections: what a slice is called is what the layer uses it for ------------------------------------------


def read_by(model: nn.Module, reader: str, site: Site | None = None, factor: float = 1.0, position: int | None = None):
    """What the projection `reader` of layer 0 reads when a slice is multiplied, everywhere or at one position."""
    anatomy = find_anatomy(model)
    layer, seen, hooks = layers_of(model, anatomy)[0], [], []

    def scale(_: nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
        assert site is not None
        changed = output.clone()
        at = slice(None) if position is None else position
        changed[:, at, site.start : site.start + site.out_width] *= factor
        return changed

    if site is not None:
        hooks.append(layer.get_submodule(site.path).register_forward_hook(scale))
    path = anatomy.site(0, reader).path
    hooks.append(layer.get_submodule(path).register_forward_pre_hook(lambda _, args: seen.append(args[0].clone())))
    model(input_ids=inputs(2)["input_ids"])
    for hook in hooks:
        hook.remove()
    (found,) = seen
    return found


@pytest.mark.parametrize("family", FUSED)
def test_a_query_moves_its_own_position_a_key_moves_the_others_and_values_are_linear(family):
    model = tiny(family)
    anatomy = find_anatomy(model)
    query, key, value = (anatomy.site(0, f"attention.{role}") for role in ("query", "key", "value"))
    assert query.fused and key.fused and value.fused
    plain = read_by(model, "attention.output")

    def moved(site: Site) -> list[int]:
        changed = read_by(model, "attention.output", site, 3.0, position=4)
        positions: list[int] = (changed != plain).any(-1).any(0).nonzero().flatten().tolist()
        return positions

    assert moved(query) == [4]
    first = 4 if anatomy.causal else 0
    assert moved(key) == moved(value) == list(range(first, 9))
    torch.testing.assert_close(read_by(model, "attention.output", value, 2.0), 2 * plain)
    assert not torch.allclose(read_by(model, "attention.output", key, 2.0), 2 * plain, rtol=0.05)


@pytest.mark.parametrize("family", ["phi3", "modernbert"])
def test_the_slice_called_up_is_linear_and_the_one_called_gate_is_not(family):
    model = tiny(family)
    anatomy = find_anatomy(model)
    gate, up = anatomy.site(0, "mlp.gate"), anatomy.site(0, "mlp.up")
    plain = read_by(model, "mlp.down")

    torch.testing.assert_close(read_by(model, "mlp.down", up, -1.0), -plain)
    assert not torch.allclose(read_by(model, "mlp.down", gate, -1.0), -plain, rtol=0.05)


def test_a_projection_that_interleaves_heads_is_one_whole_site():
    site = find_anatomy(tiny("gpt_neox")).site(1, "attention.qkv")
    assert site == Site("attention.qkv", "attention.query_key_value", WIDTH, 3 * WIDTH)


def test_a_fused_projection_of_unknown_layout_is_one_whole_site():
    model: Any = tiny("phi3")
    for layer in model.layers:
        layer.self_attn.mystery = layer.self_attn.qkv_proj
        del layer.self_attn.qkv_proj

    names = [site.name for site in find_anatomy(model).sites[0]]
    assert names[:2] == ["attention.qkv", "attention.output"] and "attention.query" not in names


def test_experts_are_adapted_at_the_output_of_their_block():
    model: Any = tiny("mixtral")
    anatomy = find_anatomy(model)

    assert anatomy.site(0, "mlp") == Site("mlp", "mlp", WIDTH, WIDTH)
    assert not [site for site in anatomy.sites[0] if site.path.startswith("mlp.")]


# --- what is refused --------------------------------------------------------------------------------------------------

_T5 = T5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=48, num_layers=3, num_heads=4)


class Odd(nn.Module):
    def __init__(self, *depths: int, config: Any) -> None:
        super().__init__()
        self.config = config
        for number, depth in enumerate(depths):
            self.add_module(f"list{number}", nn.ModuleList(nn.Linear(4, 4) for _ in range(depth)))


def deep(layers: int) -> Any:
    config: Any = PretrainedConfig()
    config.num_hidden_layers, config.hidden_size, config.num_attention_heads = layers, 4, 1
    return config


@pytest.mark.parametrize(
    ("model", "code"),
    [
        (lambda: T5Model(_T5), "base.encoder_decoder"),
        (lambda: T5EncoderModel(_T5), "base.first_layer"),
        (lambda: Odd(2, config=deep(3)), "base.no_layers"),
        (lambda: Odd(3, 3, config=deep(3)), "base.no_layers"),
        (lambda: Odd(0, config=PretrainedConfig()), "base.no_layers"),
        (lambda: Odd(3, config=None), "base.no_layers"),
        (lambda: nn.Linear(3, 3), "base.no_layers"),
    ],
    ids=["T5", "T5 encoder", "no such list", "two lists", "no depth", "no config", "one layer"],
)
def test_a_base_whose_layers_cannot_run_alone_or_be_told_apart_is_refused(model, code):
    with pytest.raises(BaseModelError) as error:
        find_anatomy(model())
    assert error.value.code == code
    assert str(error.value)


def test_one_list_as_long_as_the_depth_is_enough():
    assert find_anatomy(Odd(2, 3, config=deep(3))).layers_path == "list1"


@pytest.mark.parametrize(("layer", "name"), [(0, "mlp.gate"), (LAYERS, "residual"), (-1, "residual")])
def test_a_site_that_does_not_exist_is_refused_with_those_that_do(layer, name):
    with pytest.raises(BaseModelError) as error:
        find_anatomy(tiny("bert")).site(layer, name)
    assert error.value.code == "base.no_site"
    assert "attention.query" in str(error.value) and "0..3" in str(error.value)


def test_the_norm_of_debertas_position_embeddings_is_not_the_final_norm():
    config = AutoConfig.for_model("deberta-v2", **ENCODERS["deberta-v2"], norm_rel_ebd="layer_norm")
    model = AutoModel.from_config(config)
    assert "encoder.LayerNorm" in dict(model.named_modules())
    assert find_anatomy(model).final_norm is None
