"""Logits for some positions are those that the model itself computes."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tests.support.bases import tokenizer
from tests.support.models import DECODERS, tiny
from tsugiki.base.model import describe
from tsugiki.base.suffix import run_states
from tsugiki.base.vocabulary import Vocabulary
from tsugiki.errors import BaseModelError

IDS = torch.tensor([[2, 9, 17, 33, 5], [2, 40, 41, 7, 8]])


def base_of(model):
    return describe(model.requires_grad_(False).eval(), tokenizer(), name="tiny")


def assert_alike(base):
    last = base.num_layers
    states = run_states(base.model, base.anatomy, IDS, None, (last,))[last]
    wanted = base.model(input_ids=IDS).logits
    assert torch.allclose(Vocabulary(base)(states[:, 1:3].flatten(0, 1)), wanted[:, 1:3].flatten(0, 1), atol=1e-4)


@pytest.mark.parametrize("family", DECODERS)
def test_every_family(family):
    assert_alike(base_of(tiny(family, head=True)))


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("gemma3_text", {"final_logit_softcapping": 2.0}),
        ("granite", {"logits_scaling": 3.0}),
        ("cohere", {"logit_scale": 0.25}),
    ],
)
def test_what_a_model_does_with_its_logits_is_found(family, settings):
    shape = DECODERS.get(family, DECODERS["llama"])
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **shape, **settings))
    for parameter in model.parameters():
        parameter.data.mul_(5.0 if parameter.dim() > 1 else 1.0)
    assert_alike(base_of(model))


def test_what_is_not_known_is_refused():
    model: Any = tiny("llama", head=True)
    forward = model.forward

    def odd(*args, **more):
        found = forward(*args, **more)
        found.logits = found.logits**3
        return found

    model.forward = odd
    with pytest.raises(BaseModelError) as error:
        Vocabulary(base_of(model))
    assert error.value.code == "base.unknown_head"


@pytest.mark.parametrize("made", [lambda: tiny("bert", head=True), lambda: tiny("llama")])
def test_a_base_without_a_vocabulary_to_write_with_is_refused(made):
    with pytest.raises(BaseModelError) as error:
        Vocabulary(base_of(made()))
    assert error.value.code == "base.cannot_write"
