import pytest
import torch
from torch import nn

from tests.adapt.test_package import tiny_base
from tests.support.models import FAMILIES, inputs
from tsugiki.adapt.adapted import RESIDUAL, AdaptedModel, Graft
from tsugiki.adapt.forms.bottleneck import Bottleneck
from tsugiki.adapt.forms.low_rank import LowRank
from tsugiki.adapt.forms.scale import Scale
from tsugiki.adapt.merge import is_mergeable, merge


def everywhere(base):
    """Low-rank modules wherever they can be merged in layers 1 and 3."""
    grafts = [
        Graft(layer, site.name, LowRank(rank=1 + number % 3, alpha=2.0 + number))
        for layer in (1, 3)
        for number, site in enumerate(base.anatomy.sites[layer])
    ]
    return [graft for graft in grafts if is_mergeable(base, graft)]


def hidden(base):
    batch = inputs()
    with torch.no_grad():
        return base.model(**batch).last_hidden_state[batch["attention_mask"].bool()]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_merged_base_computes_what_the_modules_beside_it_do(family):
    base = tiny_base(family)
    grafts, plain = everywhere(base), hidden(base)
    adapted = AdaptedModel(base.model, base.anatomy)
    adapted.attach("it", grafts, None)
    generator = torch.Generator().manual_seed(0)
    tensors = adapted.tensors("it")
    params = {name: torch.randn(tensor.shape, generator=generator) * 0.3 for name, tensor in tensors.items()}
    adapted.remove("it")
    adapted.attach("it", grafts, params)
    with adapted.using("it"):
        expected = hidden(base)
    adapted.detach()
    merge(base, grafts, params)
    assert torch.allclose(hidden(base), expected, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(plain, expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("family", "graft"),
    [
        ("bert", Graft(1, RESIDUAL, LowRank())),
        ("bert", Graft(1, "mlp.up", Bottleneck())),
        ("bert", Graft(1, "mlp.up", Scale())),
        ("mixtral", Graft(1, "mlp", LowRank())),
    ],
)
def test_what_is_no_change_of_one_weight_is_not_mergeable(family, graft):
    assert not is_mergeable(tiny_base(family), graft)


def test_a_weight_in_16_bits_is_rounded_once():
    base = tiny_base("bert")
    base.model.to(torch.bfloat16)
    dense = base.model.get_submodule("encoder.layer.1.intermediate.dense")
    assert isinstance(dense, nn.Linear)
    expected = (dense.weight.float() + 1e-4).to(torch.bfloat16)
    params = {"1.mlp.up.down": torch.full((32, 1), 0.01), "1.mlp.up.up": torch.full((1, 48), 0.01)}
    merge(base, [Graft(1, "mlp.up", LowRank(rank=1, alpha=1.0))], params)
    assert dense.weight.dtype is torch.bfloat16 and torch.equal(dense.weight, expected)
