from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from tests.support.bases import tokenizer
from tests.support.models import ENCODERS, FAMILIES, LAYERS, tiny
from tsugiki.base.anatomy import find_anatomy
from tsugiki.base.digest import layer_digests, settings_digest, tokenizer_digest, weights_digest
from tsugiki.base.suffix import layers_of, trunk


def digests(model: nn.Module) -> list[str]:
    return layer_digests(model, find_anatomy(model))


@pytest.mark.parametrize("family", FAMILIES)
def test_there_is_one_for_the_embeddings_and_one_for_each_layer_and_all_differ(family):
    found = digests(tiny(family))
    assert len(found) == 1 + LAYERS == len(set(found))
    assert all(len(digest) == 64 for digest in found)
    assert digests(tiny(family)) == found
    assert not set(digests(tiny(family, seed=1))) & set(found)


@pytest.mark.parametrize("family", FAMILIES)
def test_precision_and_heads_make_no_other_base(family):
    headed = tiny(family, head=True)
    wanted = digests(trunk(headed))
    assert trunk(headed) is not headed
    assert digests(headed) == wanted
    assert digests(headed.to(torch.bfloat16)) == wanted
    assert digests(headed.to(torch.float32)) == wanted  # rounded by now
    for name, tensor in headed.named_parameters():
        if not name.startswith(f"{headed.base_model_prefix}."):
            tensor.data.add_(1.0)
    assert headed.base_model_prefix and digests(headed) == wanted


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_pooler_makes_no_other_base(family):
    model: Any = tiny(family)
    assert model.pooler is not None
    wanted = digests(model)
    model.pooler.dense.weight.data.add_(1.0)
    assert digests(model) == wanted
    model.pooler = None
    assert digests(model) == wanted


@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_that_a_state_goes_through_is_in_exactly_one_digest(family):
    model = tiny(family)
    anatomy = find_anatomy(model)
    wanted = digests(model)
    outside = (f"{anatomy.final_norm}.", "pooler.")
    seen = set()
    # Those that belong to no digest first; then the embeddings and one layer after the other.
    for name, tensor in sorted(model.named_parameters(), key=lambda pair: not pair[0].startswith(outside)):
        before = tensor.data.clone()
        tensor.data.add_(0.5)
        changed = [i for i, (a, b) in enumerate(zip(digests(model), wanted, strict=True)) if a != b]
        tensor.data.copy_(before)
        layer = name.removeprefix(f"{anatomy.layers_path}.")
        if name.startswith(outside):
            assert changed == [], name
        else:
            assert changed == ([0] if layer == name else [1 + int(layer.partition(".")[0])]), name
        seen.update(changed)
        if len(seen) == 1 + LAYERS and family != "deberta-v2":
            break  # the other layers are made alike
    assert seen == set(range(1 + LAYERS))


def test_the_norm_of_debertas_position_embeddings_counts_as_embeddings():
    config = AutoConfig.for_model("deberta-v2", **ENCODERS["deberta-v2"], norm_rel_ebd="layer_norm")
    model: Any = AutoModel.from_config(config)
    wanted = digests(model)
    model.encoder.LayerNorm.weight.data.add_(1.0)
    found = digests(model)
    assert found[0] != wanted[0] and found[1:] == wanted[1:]


@pytest.mark.parametrize("family", ["bert", "llama", "gemma3_text", "gpt2"])
def test_a_base_of_the_lower_layers_has_the_first_digests_of_the_whole(family):
    model: Any = tiny(family)
    wanted = digests(model)
    del layers_of(model, find_anatomy(model))[2:]
    model.config.num_hidden_layers = 2
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = model.config.layer_types[:2]
    assert digests(model) == wanted[:3]


def test_a_change_below_what_bfloat16_can_hold_is_no_other_base_and_one_above_is():
    model: Any = tiny("bert")
    weight = model.encoder.layer[1].output.dense.weight.data
    weight.copy_(weight.to(torch.bfloat16).float())
    wanted = digests(model)
    weight.mul_(1 + 1e-4)
    assert digests(model) == wanted
    weight[0, 0] *= 1.01
    assert digests(model) != wanted


def test_one_digest_stands_for_all_of_them_in_their_order():
    assert weights_digest(["a", "b"]) == weights_digest(("a", "b"))
    assert len({weights_digest(x) for x in (["a", "b"], ["b", "a"], ["a"], [])}) == 4


# --- tokenizers -------------------------------------------------------------------------------------------------------


def test_what_the_last_caller_cut_and_padded_is_no_part_of_a_tokenizer():
    one: Any = tokenizer()
    wanted = tokenizer_digest(one)
    one(["oil leak", "pump"], truncation=True, max_length=3, padding="max_length")
    assert one.backend_tokenizer.truncation and one.backend_tokenizer.padding
    assert tokenizer_digest(one) == wanted == tokenizer_digest(tokenizer())


@pytest.mark.parametrize("change", ["word", "case", "special"])
def test_a_tokenizer_that_reads_otherwise_has_another_digest(change):
    from tokenizers import normalizers

    one: Any = tokenizer()
    wanted = tokenizer_digest(one)
    if change == "word":
        one.add_tokens(["gearbox"])
    elif change == "case":
        one.backend_tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    else:
        one.backend_tokenizer.post_processor = None
    assert tokenizer_digest(one) != wanted


def test_a_slow_tokenizer_is_known_by_its_vocabulary():
    class Slow:
        def __init__(self, **words):
            self.words = words

        def get_vocab(self):
            return self.words

    assert tokenizer_digest(Slow(a=1, b=2)) == tokenizer_digest(Slow(b=2, a=1))
    assert tokenizer_digest(Slow(a=1, b=2)) != tokenizer_digest(Slow(a=2, b=1))


# --- settings ---------------------------------------------------------------------------------------------------------


def settings_of(family: str, layers: int = 2, **changes: Any) -> str:
    model: Any = tiny(family)
    for key, value in changes.items():
        setattr(model.config, key, value)
    return settings_digest(model, layers)


def test_settings_that_change_what_is_computed_change_their_digest():
    rotary = {"rope_theta": 5e5, "rope_type": "default"}
    found = [settings_of("llama"), settings_of("llama", rope_parameters=rotary)]
    found += [settings_of("llama", rms_norm_eps=1e-3), settings_of("llama", num_attention_heads=2)]
    found += [settings_of("mistral", sliding_window=w) for w in (3, 4)]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    "changes",
    [{"_name_or_path": "elsewhere"}, {"use_cache": False}, {"num_hidden_layers": 2}, {"architectures": ["Other"]}],
)
def test_settings_that_change_nothing_do_not(changes):
    assert settings_of("llama", **changes) == settings_of("llama")


def test_what_is_said_of_single_layers_counts_as_far_as_they_do():
    alternating, other = (
        ["sliding_attention", "full_attention"] * 2,
        ["sliding_attention", "full_attention"] + ["full_attention"] * 2,
    )
    for layers, same in ((2, True), (3, False)):
        found = {settings_of("gemma3_text", layers, layer_types=types) for types in (alternating, other)}
        assert (len(found) == 1) is same
