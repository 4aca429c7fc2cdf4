"""What every form keeps to; a new file in `adapt/forms` is tested here without a line more."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.models import FAMILIES, inputs, tiny
from tsugiki.adapt.adapted import AdaptedModel, Graft
from tsugiki.adapt.form import FORMS, Form
from tsugiki.base.anatomy import find_anatomy
from tsugiki.errors import ConfigError

KINDS = FORMS.names()
SIZES = [(12, 20), (20, 12), (16, 16)]

kinds = pytest.mark.parametrize("kind", KINDS)
sizes = pytest.mark.parametrize(("in_width", "out_width"), SIZES)


def fresh(form: Form, in_width: int, out_width: int, seed: int = 0) -> dict[str, Tensor]:
    return form.init(in_width, out_width, torch.Generator().manual_seed(seed))


def trained(form: Form, in_width: int, out_width: int, seed: int) -> dict[str, Tensor]:
    """Parameters of a module that is no identity."""
    generator = torch.Generator().manual_seed(seed)
    return {k: t + 0.3 * torch.randn(t.shape, generator=generator) for k, t in fresh(form, in_width, out_width).items()}


def batch(rows: int, in_width: int, out_width: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 5, in_width, generator=generator), torch.randn(rows, 5, out_width, generator=generator)


def test_there_are_the_forms_that_are_documented():
    assert {"low_rank", "bottleneck", "scale"} <= set(KINDS)


@kinds
def test_a_form_is_named_after_its_file_and_survives_its_own_dump(kind):
    form = FORMS.parse({"kind": kind})
    assert form.kind == kind
    assert FORMS.parse(form.model_dump(mode="json")) == form


@kinds
def test_an_unknown_field_is_refused(kind):
    with pytest.raises(ConfigError) as error:
        FORMS.parse({"kind": kind, "rnak": 4})
    assert error.value.code == "config.invalid" and "rnak" in str(error.value)


@pytest.mark.parametrize("kind", ["low_rnak", "", "_private"])
def test_an_unknown_kind_is_refused_with_those_that_are_known(kind):
    with pytest.raises(ConfigError) as error:
        FORMS.parse({"kind": kind})
    assert error.value.code == "config.no_such_member" and all(known in str(error.value) for known in KINDS)


@kinds
@sizes
def test_shapes_are_those_of_a_fresh_module_and_their_sizes_add_up(kind, in_width, out_width):
    form = FORMS.parse({"kind": kind})
    params = fresh(form, in_width, out_width)
    assert {name: tuple(tensor.shape) for name, tensor in params.items()} == form.shapes(in_width, out_width)
    assert all(tensor.dtype is torch.float32 for tensor in params.values())
    assert form.num_params(in_width, out_width) == sum(tensor.numel() for tensor in params.values()) > 0


@kinds
def test_equal_seeds_give_equal_modules(kind):
    form = FORMS.parse({"kind": kind})
    first, second, other = (fresh(form, 12, 20, seed) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    if any(tensor.any() for tensor in first.values()):
        assert any(not torch.equal(first[name], other[name]) for name in first)


@kinds
@sizes
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_change_of_a_fresh_module_is_exactly_zero(kind, in_width, out_width, dtype):
    form = FORMS.parse({"kind": kind})
    x, y = (t.to(dtype) for t in batch(3, in_width, out_width))
    delta = form.delta(fresh(form, in_width, out_width), x, y)
    assert delta.dtype is dtype and delta.shape == y.shape and not delta.any()


@kinds
@sizes
def test_a_trained_module_changes_every_row_by_itself(kind, in_width, out_width):
    form = FORMS.parse({"kind": kind})
    params = trained(form, in_width, out_width, seed=4)
    x, y = batch(3, in_width, out_width)
    delta = form.delta(params, x, y)
    assert (delta.flatten(1).norm(dim=1) > 0.1).all()
    for row in range(3):
        torch.testing.assert_close(form.delta(params, x[row : row + 1], y[row : row + 1])[0], delta[row])


@kinds
@settings(deadline=None, max_examples=20)
@given(rows=st.integers(1, 5), sizes=st.sampled_from(SIZES), seed=st.integers(0, 1000))
def test_stacked_parameters_equal_one_module_after_the_other(kind, rows, sizes, seed):
    form = FORMS.parse({"kind": kind})
    modules = [trained(form, sizes[0], sizes[1], seed + row) for row in range(rows)]
    x, y = batch(rows, sizes[0], sizes[1], seed)
    stacked = {name: torch.stack([module[name] for module in modules]) for name in modules[0]}
    loop = torch.cat([form.delta(modules[row], x[row : row + 1], y[row : row + 1]) for row in range(rows)])
    torch.testing.assert_close(form.delta(stacked, x, y), loop)


@kinds
def test_the_change_is_differentiable_in_parameters_and_inputs(kind):
    form = FORMS.parse({"kind": kind})
    params = {name: tensor.double().requires_grad_() for name, tensor in trained(form, 4, 6, seed=0).items()}
    x, y = (t.double().requires_grad_() for t in batch(2, 4, 6))
    names = list(params)

    def delta(*tensors: Tensor) -> Tensor:
        return form.delta(dict(zip(names, tensors[2:], strict=True)), tensors[0], tensors[1])

    assert torch.autograd.gradcheck(delta, (x, y, *params.values()))
    form.delta(params, x, y).square().sum().backward()
    assert all(tensor.grad is not None and tensor.grad.any() for tensor in params.values())


@kinds
def test_a_fresh_module_can_learn(kind):
    form = FORMS.parse({"kind": kind})
    params = {name: tensor.requires_grad_() for name, tensor in fresh(form, 12, 20).items()}
    form.delta(params, *batch(3, 12, 20)).sum().backward()
    assert any(tensor.grad is not None and tensor.grad.any() for tensor in params.values())


@kinds
@pytest.mark.parametrize("family", FAMILIES)
def test_fresh_modules_on_all_sites_of_any_family_are_the_identity_bit_for_bit_and_others_are_not(kind, family):
    form = FORMS.parse({"kind": kind})
    model = tiny(family)
    adapted = AdaptedModel(model, find_anatomy(model))
    tokens = inputs(2, 5)
    wanted = model(**tokens)[0]
    sites = [site.name for site in adapted.anatomy.sites[1]]
    adapted.attach("all", [Graft(layer, site, form) for layer in (0, 1, 3) for site in sites])
    with adapted.using("all"):
        assert torch.equal(model(**tokens)[0], wanted)
    # With something in it the same module does act at each of them.
    for site in sites:
        adapted.attach(site, [Graft(1, site, form)])
        for tensor in adapted.tensors(site).values():
            tensor.data.add_(0.5)
        with torch.no_grad(), adapted.using(site):
            assert not torch.equal(model(**tokens)[0], wanted)
