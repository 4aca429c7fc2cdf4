"""What learns on a grafted model, and the way back."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

import tsugiki
from tests.support.bases import tokenizer
from tests.support.models import DECODERS, ENCODERS, LAYERS, inputs, tiny
from tsugiki.adapt.package import load_package
from tsugiki.base.digest import layer_digests
from tsugiki.errors import BaseModelError, ConfigError, PackageError, RoutingError


def classifier(family="bert"):
    """A tiny model with a fresh head of two classes, without dropout."""
    settings = {**DECODERS, **ENCODERS}[family]
    config = AutoConfig.for_model(family, **settings, num_labels=2)
    for name in ("attention_probs_dropout_prob", "hidden_dropout_prob"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(config)


def learning(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def disturb(model):
    """Modules as if they had learnt something."""
    for name, parameter in model.named_parameters():
        if name.startswith("tsugiki."):
            parameter.data.normal_(std=0.3)


def states(model, **given):
    with torch.no_grad():
        return model(**inputs(), **given)[0]


@pytest.mark.parametrize(("family", "head"), [("bert", "classifier."), ("llama", "score.")])
def test_only_modules_and_the_head_of_the_task_learn(family, head):
    model = classifier(family)
    tsugiki.graft(model, boundary=3)
    found = learning(model)
    assert {name.partition(".")[0] + "." for name in found} == {"tsugiki.", head}
    assert {name.split(".")[1].partition("_")[0] for name in found if name.startswith("tsugiki.")} == {"3"}


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_a_head_over_the_vocabulary_stands_still(family):
    model = tiny(family, head=True)
    grafted = tsugiki.graft(model, sites=["mlp.down"], boundary=3)
    assert learning(model) == {"tsugiki.3_mlp_down.down", "tsugiki.3_mlp_down.up"}
    assert grafted.num_trainable == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_fresh_modules_change_nothing_and_trained_ones_do():
    model = tiny("llama", head=True)
    before = states(model)
    tsugiki.graft(model)
    assert torch.equal(states(model), before)
    disturb(model)
    assert not torch.allclose(states(model), before)


def test_detaching_gives_the_model_back_as_it_was():
    model = classifier()
    model.bert.embeddings.requires_grad_(False)
    before, learnt, keys, output = (
        model._keys_to_ignore_on_save,
        learning(model),
        list(model.state_dict()),
        states(model),
    )
    grafted = tsugiki.graft(model)
    disturb(model)
    assert grafted.detach() is model
    assert (learning(model), list(model.state_dict()), model._keys_to_ignore_on_save) == (learnt, keys, before)
    assert torch.equal(states(model), output)
    tsugiki.graft(model).detach()


def test_modules_stay_where_nobody_keeps_what_was_returned():
    import gc

    model = tiny("bert")
    tsugiki.graft(model)
    before = learning(model)
    disturb(model)
    output = states(model)
    gc.collect()
    assert learning(model) == before and torch.equal(states(model), output)


def test_a_model_is_grafted_once_at_a_time():
    model = tiny("bert")
    tsugiki.graft(model)
    with pytest.raises(RoutingError, match=r"detach\(\)"):
        tsugiki.graft(model)


def test_the_notice_that_nothing_is_cached_comes_once(caplog):
    with caplog.at_level("INFO", "tsugiki"):
        tsugiki.graft(tiny("bert"), boundary=2)
    (record,) = caplog.records
    assert "layers 2 to 3" in record.getMessage() and "prefix cache is not used" in record.getMessage()


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_what_is_saved_attaches_to_the_same_base(family, tmp_path):
    model = tiny(family)
    digests = layer_digests(model, tsugiki.attach(model).anatomy)
    grafted = tsugiki.graft(model, form={"kind": "bottleneck", "rank": 4}, sites=["residual"])
    disturb(model)
    grafted.save(tmp_path / "billing", tokenizer())
    expected = states(model)
    manifest = load_package(tmp_path / "billing").manifest
    assert (manifest.name, manifest.variant, manifest.task) == ("billing", "grafted", {"kind": "grafted"})
    assert list(manifest.base.layer_digests) == digests
    adapted = tsugiki.attach(tiny(family), tmp_path / "billing")
    with adapted.using("billing"):
        assert torch.equal(states(adapted.model), expected)
    assert learning(model) and torch.equal(states(model), expected)


def test_modules_of_less_precision_are_saved_in_full(tmp_path):
    model = tiny("bert")
    grafted = tsugiki.graft(model)
    model.bfloat16()
    grafted.save(tmp_path / "billing", tokenizer())
    assert load_package(tmp_path / "billing").tensors[f"modules.{LAYERS - 1}.mlp.up.up"].dtype is torch.float32


def test_modules_gone_astray_are_not_saved(tmp_path):
    model = tiny("bert")
    grafted = tsugiki.graft(model)
    next(p for n, p in model.named_parameters() if n.startswith("tsugiki.")).data.fill_(torch.nan)
    with pytest.raises(PackageError, match="NaN"):
        grafted.save(tmp_path / "billing", tokenizer())
    assert not (tmp_path / "billing").exists()


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"boundary": LAYERS}, ConfigError),
        ({"boundary": "high"}, ConfigError),
        ({"form": {"kind": "wave"}}, ConfigError),
        ({"form": {"kind": "low_rank", "rank": 0}}, ConfigError),
        ({"sites": ["nose"]}, BaseModelError),
    ],
)
def test_a_wrong_wish_leaves_the_model_as_it_was(asked, error):
    model = tiny("bert")
    keys = list(model.state_dict())
    with pytest.raises(error):
        tsugiki.graft(model, **asked)
    assert list(model.state_dict()) == keys and not any(m._forward_hooks for m in model.modules())
