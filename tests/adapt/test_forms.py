import math

import pytest
import torch
from torch.nn import functional

from tsugiki.adapt.form import FORMS
from tsugiki.adapt.forms.bottleneck import Bottleneck
from tsugiki.adapt.forms.low_rank import LowRank
from tsugiki.adapt.forms.scale import Scale
from tsugiki.errors import ConfigError

x, y = (torch.randn(2, 5, width, generator=torch.Generator().manual_seed(width)) for width in (12, 20))


def test_low_rank_is_a_change_of_the_weight_matrix_scaled_by_the_root_of_its_rank():
    form = LowRank(rank=4, alpha=6.0)
    params = {"down": torch.randn(12, 4), "up": torch.randn(4, 20)}
    weight = (params["down"] @ params["up"]).T * 6.0 / math.sqrt(4)
    torch.testing.assert_close(form.delta(params, x, y), functional.linear(x, weight))
    assert form.is_linear and not Bottleneck().is_linear and not Scale().is_linear


def test_a_bottleneck_reads_what_its_site_returns():
    form = Bottleneck(rank=3)
    params = {"down": torch.randn(20, 3), "bias": torch.randn(1, 3), "up": torch.randn(3, 20)}
    wanted = functional.gelu(y @ params["down"] + params["bias"]) @ params["up"]
    torch.testing.assert_close(form.delta(params, x, y), wanted)
    assert torch.equal(form.delta(params, x + 1, y), form.delta(params, x, y))


def test_a_scale_multiplies_channels():
    params = {"scale": torch.linspace(-1, 1, 20)[None]}
    torch.testing.assert_close(y + Scale().delta(params, x, y), y * (1 + params["scale"]))


@pytest.mark.parametrize("form", [LowRank(rank=4), Bottleneck(rank=3), Scale()])
@pytest.mark.parametrize("is_packed", [True, False])
def test_what_is_added_is_the_change_and_without_gradients_needs_no_copy(form, is_packed):
    chance = torch.Generator().manual_seed(0)
    params = {name: torch.randn(shape, generator=chance) for name, shape in form.shapes(12, 20).items()}
    given = y if is_packed else torch.stack([y, y], -1)[..., 0]
    wanted = y + form.delta(params, x, y)
    torch.testing.assert_close(form.added(params, x, given.clone() if is_packed else given), wanted)
    with torch.no_grad():
        own = y.clone() if is_packed else torch.stack([y, y], -1)[..., 0]
        found = form.added(params, x, own)
    torch.testing.assert_close(found, wanted)
    assert found is own


@pytest.mark.parametrize(
    ("spec", "count"),
    [({"kind": "low_rank", "rank": 4}, 4 * 32), ({"kind": "bottleneck", "rank": 4}, 84 + 80), ({"kind": "scale"}, 20)],
)
def test_parameters_are_as_many_as_the_rank_says(spec, count):
    assert FORMS.parse(spec).num_params(12, 20) == count


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "low_rank", "rank": 0},
        {"kind": "low_rank", "rank": 2.5},
        {"kind": "low_rank", "alpha": 0},
        {"kind": "bottleneck", "rank": -1},
        {"kind": "scale", "rank": 1},
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(spec):
    with pytest.raises(ConfigError) as error:
        FORMS.parse(spec)
    assert error.value.code == "config.invalid"
