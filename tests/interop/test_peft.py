import json
import math
import pickle
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.adapt.test_package import Words, manifest_for, tensors_for
from tests.support.models import DECODERS, FAMILIES, LAYERS, inputs, tiny
from tsugiki.adapt.adapted import RESIDUAL, AdaptedModel, Graft
from tsugiki.adapt.forms.bottleneck import Bottleneck
from tsugiki.adapt.forms.low_rank import LowRank
from tsugiki.adapt.forms.scale import Scale
from tsugiki.adapt.head_file import HEAD, LOADER
from tsugiki.adapt.package import Package
from tsugiki.adapt.package_checks import check_base
from tsugiki.adapt.peft import CONFIG, WEIGHTS, import_peft
from tsugiki.adapt.readers.mean import Mean
from tsugiki.base.model import Base, describe
from tsugiki.base.suffix import run_states, trunk
from tsugiki.errors import ExportError, MissingError, PackageError
from tsugiki.export import export, format_of
from tsugiki.manifest import HeadFacts

peft = pytest.importorskip("peft", reason="the PEFT library is not installed")
pytestmark = pytest.mark.interop

# What a person would train a LoRA on, by family.
TARGETS = {
    "phi3": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
    "gpt2": ["c_attn", "c_proj", "c_fc"],
    "gpt_neox": ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
    "mixtral": ["q_proj", "k_proj", "v_proj", "o_proj"],
    "bert": ["query", "value", "dense"],
    "roberta": ["query", "key", "dense"],
    "modernbert": ["Wqkv", "Wi", "Wo"],
    "deberta-v2": ["query_proj", "key_proj", "dense"],
}
LLAMA_LIKE = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def base_of(model: nn.Module, family: str) -> Base:
    return describe(model, Words("a", "b"), name=f"tiny-{family}")


def model_of(family: str) -> nn.Module:
    return tiny(family, head=family in DECODERS)


def outputs(model: nn.Module) -> Tensor:
    """Logits of a decoder, hidden states of an encoder, where nothing is padded."""
    batch = inputs()
    with torch.no_grad():
        result = model(**batch)
    whole: Tensor = result.logits if hasattr(result, "logits") else result.last_hidden_state
    return whole[batch["attention_mask"].bool()]


def ours(model: nn.Module, base: Base, grafts: list[Graft], params: dict[str, Tensor]) -> Tensor:
    adapted = AdaptedModel(model, base_of(model, "").anatomy)
    adapted.attach("it", grafts, params)
    with adapted.using("it"):
        result = outputs(model)
    adapted.detach()
    return result


def sites_of(base: Base, layer: int) -> list[str]:
    names = [site.name for site in base.anatomy.sites[layer] if site.name != RESIDUAL]
    return [name for name in names if not ("mixtral" in base.name and name == "mlp")]


def everywhere(base: Base) -> list[Graft]:
    """Modules of unlike ranks and strengths on all sites of layers 1 and 3."""
    return [
        Graft(layer, name, LowRank(rank=1 + (n + layer) % 3, alpha=2.0 + n))
        for layer in (1, 3)
        for n, name in enumerate(sites_of(base, layer))
    ]


def packed(base: Base, grafts: list[Graft], **changes: object) -> Package:
    manifest = manifest_for(base, grafts, **changes)
    return Package(manifest, tensors_for(base, manifest), manifest.digest())


def export_peft(package: Package, base: Base, folder: Path) -> dict[str, str]:
    """As `tsugiki export --format peft` does, with a base in memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsugiki.exports.peft.load_base", lambda *_, **__: base)
        return export(package, format_of("peft"), folder)


def close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-4, atol=1e-4)


# --- out -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_peft_computes_the_same_from_an_export(family, tmp_path):
    model = model_of(family)
    base = base_of(model, family)
    package = packed(base, everywhere(base))
    export_peft(package, base, tmp_path / "out")
    plain, expected = outputs(model), ours(model, base, package.grafts, package.part("modules"))
    assert not close(plain, expected)
    loaded = peft.PeftModel.from_pretrained(model, tmp_path / "out")
    assert close(outputs(loaded), expected)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_a_base_without_its_vocabulary_head_exports_the_same_files(family, tmp_path):
    model = model_of(family)
    for name, part in (("with", model), ("without", trunk(model))):
        base = base_of(part, family)
        export_peft(packed(base, everywhere(base)), base, tmp_path / name)
    for file in (CONFIG, WEIGHTS):
        assert (tmp_path / "with" / file).read_bytes() == (tmp_path / "without" / file).read_bytes()


@pytest.mark.parametrize("family", ["llama", "phi3", "gpt2", "bert"])
def test_peft_can_merge_an_export_into_the_base(family, tmp_path):
    model = model_of(family)
    base = base_of(model, family)
    package = packed(base, everywhere(base))
    export_peft(package, base, tmp_path / "out")
    expected = ours(model, base, package.grafts, package.part("modules"))
    assert close(outputs(peft.PeftModel.from_pretrained(model, tmp_path / "out").merge_and_unload()), expected)


# What vLLM's loader takes out of a configuration; everything else it passes over without a word.
VLLM_KNOWS = {"r", "lora_alpha", "target_modules", "bias", "modules_to_save", "use_rslora", "use_dora"}


def read_as_vllm_does(folder: Path) -> dict[str, Tensor]:
    """The change of each weight (O, I) by the path of its module, without patterns of ranks and strengths."""
    config = {k: v for k, v in json.loads((folder / CONFIG).read_text()).items() if k in VLLM_KNOWS}
    assert config.keys() == VLLM_KNOWS and isinstance(config["target_modules"], list)
    assert config["modules_to_save"] is None and config["bias"] == "none"
    assert config["use_dora"] is False and config["use_rslora"] is False
    assert isinstance(config["r"], int) and isinstance(config["lora_alpha"], int)
    scale, halves = config["lora_alpha"] / config["r"], load_file(folder / WEIGHTS)
    changes = {}
    for name, up in halves.items():
        if name.endswith(".lora_B.weight"):
            down = halves[name.replace(".lora_B.", ".lora_A.")]
            assert name.startswith("base_model.model.") and up.shape[1] == down.shape[0] == config["r"]
            changes[name.removeprefix("base_model.model.").removesuffix(".lora_B.weight")] = scale * up @ down
    assert len(halves) == 2 * len(changes)
    return changes


@pytest.mark.parametrize("family", ["llama", "qwen3", "phi3"])
def test_a_loader_that_knows_one_rank_and_one_plain_scale_computes_the_same_from_an_export(family, tmp_path):
    model = model_of(family)
    base = base_of(model, family)
    package = packed(base, everywhere(base))
    assert len({graft.form.rank for graft in package.grafts}) > 1  # type: ignore[attr-defined]
    assert {"vLLM", "llama.cpp"} <= export_peft(package, base, tmp_path / "out").keys()
    expected = ours(model, base, package.grafts, package.part("modules"))
    for path, change in read_as_vllm_does(tmp_path / "out").items():
        weight = model.get_submodule(path).weight
        assert isinstance(weight, Tensor)
        weight.data += change
    assert close(outputs(model), expected)


def test_vllm_is_told_a_rank_that_its_option_takes(tmp_path):
    base = base_of(model_of("llama"), "llama")
    grafts = [Graft(1, "mlp.up", LowRank(rank=9)), Graft(2, "mlp.up", LowRank(rank=2))]
    assert "--max-lora-rank 16 " in export_peft(packed(base, grafts), base, tmp_path / "out")["vLLM"]


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_programs_that_cannot_take_an_export_are_not_named(family, tmp_path):
    base = base_of(model_of(family), family)
    assert export_peft(packed(base, everywhere(base)), base, tmp_path / "out").keys() == {"PEFT", "transformers"}


@pytest.mark.parametrize("family", ["bert", "modernbert", "llama"])
def test_the_head_that_goes_along_gives_the_same_scores(family, tmp_path):
    model = model_of(family)
    base = base_of(model, family)
    package = packed(base, everywhere(base), states=(2, LAYERS))
    export_peft(package, base, tmp_path / "out")
    batch, head = inputs(), package.part("head")
    adapted = AdaptedModel(model, base.anatomy)
    adapted.attach("it", package.grafts, package.part("modules"))
    with adapted.using("it"), torch.no_grad():
        states = run_states(model, base.anatomy, batch["input_ids"], batch["attention_mask"], (2, LAYERS))
    features = Mean().read({}, torch.stack([states[2], states[LAYERS]]), batch["attention_mask"])
    adapted.detach()
    loaded = peft.PeftModel.from_pretrained(model, tmp_path / "out")
    loader = runpy.run_path(str(tmp_path / "out" / LOADER))
    assert loader["labels"] == package.manifest.task["labels"]
    assert close(loader["scores"](loaded, **batch), features @ head["weight"].T + head["bias"])


def test_a_reader_goes_out_and_in_again_with_the_head(tmp_path):
    base = base_of(model_of("bert"), "bert")
    head = HeadFacts(states=(2, LAYERS), reader={"kind": "readout", "queries": 4})
    package = packed(base, everywhere(base), head=head)
    queries = torch.randn(2, 4, base.width, generator=torch.Generator().manual_seed(0))
    export_peft(Package(package.manifest, package.tensors | {"reader.queries": queries}, ""), base, tmp_path / "out")
    assert torch.equal(load_file(tmp_path / "out" / HEAD)["queries"], queries)


def test_an_export_replaces_an_earlier_one(tmp_path):
    base = base_of(model_of("bert"), "bert")
    export_peft(packed(base, everywhere(base), states=(4,)), base, tmp_path / "out")
    export_peft(packed(base, everywhere(base)), base, tmp_path / "out")
    assert {CONFIG, WEIGHTS} <= {p.name for p in (tmp_path / "out").iterdir()}
    assert HEAD not in {p.name for p in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize(
    ("family", "grafts", "head", "code"),
    [
        ("bert", [Graft(1, "mlp.up", Bottleneck(rank=2))], HeadFacts(), "export.form"),
        ("bert", [Graft(1, "mlp.up", Scale())], HeadFacts(), "export.form"),
        ("bert", [Graft(1, RESIDUAL, LowRank(rank=2))], HeadFacts(), "export.residual"),
        ("mixtral", [Graft(1, "mlp", LowRank(rank=2))], HeadFacts(), "export.block"),
        ("bert", [], HeadFacts(states=(4,)), "export.head_only"),
        ("bert", [Graft(1, "mlp.up", LowRank())], HeadFacts(words={"kind": "tfidf"}), "export.lexicon"),
        ("bert", [Graft(1, "mlp.up", LowRank())], HeadFacts(states=(4,), reader={"kind": "ladder"}), "export.reader"),
    ],
)
def test_what_peft_cannot_hold_is_refused_by_name_and_nothing_is_written(family, grafts, head, code, tmp_path):
    base = base_of(tiny(family), family)
    with pytest.raises(ExportError) as refused:
        export_peft(packed(base, grafts, head=head), base, tmp_path / "out")
    assert refused.value.code == code
    assert "with tsugiki" in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_a_package_of_another_base_is_not_exported(tmp_path):
    base = base_of(model_of("bert"), "bert")
    with pytest.raises(PackageError) as refused:
        export_peft(packed(base, everywhere(base)), base_of(model_of("roberta"), "roberta"), tmp_path / "out")
    assert refused.value.code == "package.other_base"


# --- in --------------------------------------------------------------------------------------------------------------


def trained(model: nn.Module, folder: Path, seed: int = 0, **settings: object) -> Any:
    """A LoRA made by PEFT whose values are as after a training, saved to `folder`."""
    settings = {"target_modules": LLAMA_LIKE, "r": 3, "lora_alpha": 5, **settings}
    wrapped: Any = peft.get_peft_model(model, peft.LoraConfig(**settings)).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    wrapped.save_pretrained(str(folder))
    return wrapped


@pytest.mark.parametrize("use_rslora", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_lora_made_by_peft_computes_the_same_here(family, use_rslora, tmp_path):
    model = model_of(family)
    base = base_of(model, family)
    # Poolers and prediction heads have dense layers too, so a layer is asked for.
    targets = rf"(.*\.)?(layers?|h)\.(1|3)\..*\.({'|'.join(TARGETS.get(family, LLAMA_LIKE))})"
    stored_input_first = family == "gpt2"
    wrapped = trained(model, tmp_path, target_modules=targets, use_rslora=use_rslora, fan_in_fan_out=stored_input_first)
    expected = outputs(wrapped)
    plain = model_of(family)
    grafts, params = import_peft(tmp_path, base)
    # For Mixtral PEFT turns the expression into names, which fit every layer.
    assert {graft.layer for graft in grafts} >= {1, 3}
    assert close(ours(plain, base, grafts, params), expected)
    assert not close(outputs(plain), expected)


def test_ranks_and_strengths_by_pattern_are_understood(tmp_path):
    wrapped = trained(
        model_of("llama"),
        tmp_path,
        rank_pattern={"q_proj": 5, "layers.2.mlp.down_proj": 1},
        alpha_pattern={"q_proj": 7, "^model.layers.3.mlp.up_proj": 9},
    )
    plain = model_of("llama")
    base = base_of(plain, "llama")
    grafts, params = import_peft(tmp_path, base)
    assert {(g.layer, g.site): g.form.rank for g in grafts}[2, "mlp.down"] == 1  # type: ignore[attr-defined]
    assert close(ours(plain, base, grafts, params), outputs(wrapped))


def test_a_lora_on_a_decoder_fits_its_trunk_too(tmp_path):
    trained(model_of("llama"), tmp_path)
    model = model_of("llama")
    with_head, without = base_of(model, "llama"), base_of(trunk(model), "llama")
    (a, b), (c, d) = import_peft(tmp_path, with_head), import_peft(tmp_path, without)
    assert a == c
    assert all(torch.equal(b[name], d[name]) for name in b)


@pytest.mark.parametrize("family", ["phi3", "gpt2", "modernbert", "llama"])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_out_and_in_again_is_the_identity(family, tmp_path, data):
    model = model_of(family)
    base = base_of(model, family)
    places = [(layer, name) for layer in range(LAYERS) for name in sites_of(base, layer)]
    chosen = data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=6, unique=True))
    forms = st.builds(LowRank, rank=st.integers(1, 4), alpha=st.floats(0.5, 32.0))
    grafts = [Graft(layer, name, data.draw(forms)) for layer, name in chosen]
    package = packed(base, grafts)
    export_peft(package, base, tmp_path / "out")
    back, params = import_peft(tmp_path / "out", base)
    before = {(g.layer, g.site): g.form for g in grafts}
    assert {(g.layer, g.site) for g in back} == before.keys()
    for graft in back:
        form = before[graft.layer, graft.site]
        assert isinstance(form, LowRank)
        assert isinstance(graft.form, LowRank)
        assert graft.form.rank == form.rank
        key = f"{graft.layer}.{graft.site}"
        assert torch.equal(params[f"{key}.down"], package.tensors[f"modules.{key}.down"])
        strength = graft.form.alpha / form.alpha
        assert torch.allclose(params[f"{key}.up"] * strength, package.tensors[f"modules.{key}.up"], rtol=1e-5)


def test_an_imported_lora_can_be_packed(tmp_path):
    trained(model_of("phi3"), tmp_path)
    base = base_of(model_of("phi3"), "phi3")
    grafts, params = import_peft(tmp_path, base)
    manifest = manifest_for(base, grafts)
    check_base(Package(manifest, {f"modules.{name}": t for name, t in params.items()}, ""), base)


# --- what cannot come in ---------------------------------------------------------------------------------------------


def refused(folder: Path, base: Base) -> str:
    with pytest.raises(PackageError) as error:
        import_peft(folder, base)
    assert len(str(error.value)) > 60
    return str(error.value)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "olora"}, "init_lora_weights"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"target_modules": ["q_proj", "lm_head"]}, "lm_head"),
        ({"target_modules": ["q_proj", "embed_tokens"]}, "embed"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_more_than_a_plain_lora_is_refused_by_name(settings, word, tmp_path):
    trained(model_of("llama"), tmp_path, **settings)
    assert word in refused(tmp_path, base_of(model_of("llama"), "llama"))


@pytest.mark.filterwarnings("ignore")
def test_a_lora_on_a_convolution_is_refused(tmp_path):
    trained(model_of("deberta-v2"), tmp_path, target_modules=["query_proj", "conv.conv"])
    assert "conv" in refused(tmp_path, base_of(model_of("deberta-v2"), "deberta-v2"))


def test_a_lora_on_experts_is_refused(tmp_path):
    trained(model_of("mixtral"), tmp_path, target_modules=["q_proj", "gate"])
    assert "gate" in refused(tmp_path, base_of(model_of("mixtral"), "mixtral"))


def test_another_method_is_refused_by_name(tmp_path):
    config = peft.IA3Config(target_modules=["q_proj", "down_proj"], feedforward_modules=["down_proj"])
    peft.get_peft_model(model_of("llama"), config).save_pretrained(str(tmp_path))
    assert "IA3" in refused(tmp_path, base_of(model_of("llama"), "llama"))


def test_a_pickle_is_refused_unopened(tmp_path):
    trained(model_of("llama"), tmp_path)
    (tmp_path / WEIGHTS).unlink()
    (tmp_path / "adapter_model.bin").write_bytes(pickle.dumps(Bomb()))
    assert "adapter_model.bin" in refused(tmp_path, base_of(model_of("llama"), "llama"))


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("a pickle was opened",)


def test_a_lora_of_another_base_is_refused(tmp_path):
    trained(model_of("llama"), tmp_path)
    assert "site" in refused(tmp_path, base_of(model_of("gpt2"), "gpt2"))


@pytest.mark.parametrize("missing", [CONFIG, WEIGHTS])
def test_a_folder_that_is_not_whole_is_missing(missing, tmp_path):
    trained(model_of("llama"), tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(MissingError):
        import_peft(tmp_path, base_of(model_of("llama"), "llama"))


def doubled(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors | {name.replace("model.model.", "model."): tensor.clone() for name, tensor in tensors.items()}


def narrow(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor[:, :-1].contiguous() if "lora_A" in name else tensor for name, tensor in tensors.items()}


def half(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.endswith("3.mlp.up_proj.lora_B.weight")}


def astray(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor * math.nan for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (doubled, "two modules"),
        (narrow, "(inputs, outputs)"),
        (half, "3.mlp.up_proj"),
        (astray, "NaN"),
        (lambda t: t | {"base_model.model.x": torch.zeros(2, 2)}, "base_model.model.x"),
        (lambda t: t | {"base_model.model.x.lora_A.weight": torch.zeros(2, 2, 1, 1)}, "(2, 2, 1, 1)"),
    ],
)
def test_forged_tensors_are_refused(change, word, tmp_path):
    trained(model_of("llama"), tmp_path)
    save_file(change(load_file(tmp_path / WEIGHTS)), tmp_path / WEIGHTS)
    assert word in refused(tmp_path, base_of(model_of("llama"), "llama"))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"lora_alpha": 0}, "lora_alpha"),
        ({"lora_alpha": "strong"}, "strong"),
        ({"alpha_pattern": {"(": 1}}, "alpha_pattern"),
        ({"alpha_pattern": [1]}, "alpha_pattern"),
        ({"a_setting_of_the_future": 0.5}, "a_setting_of_the_future"),
    ],
)
def test_forged_settings_are_refused(change, word, tmp_path):
    trained(model_of("llama"), tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps(config | change))
    assert word in refused(tmp_path, base_of(model_of("llama"), "llama"))


def test_a_config_that_is_not_json_is_refused(tmp_path):
    (tmp_path / CONFIG).write_bytes(b"[" * 100_000)
    assert "JSON" in refused(tmp_path, base_of(model_of("llama"), "llama"))
