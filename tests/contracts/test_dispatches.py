"""Every dispatch computes what the loop does; a new file in `adapt/dispatches` is tested here without a line more."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tsugiki.adapt.dispatch import DISPATCHES
from tsugiki.adapt.form import FORMS, Form
from tsugiki.adapt.routing import Routing

IN, OUT = 12, 20
FIELDS = {"low_rank": {"rank": 8}, "bottleneck": {"rank": 8}}
kinds = pytest.mark.parametrize("kind", DISPATCHES.names())


def test_grouped_products_take_whole_rows_of_16_bytes_only():
    grouped = DISPATCHES.parse({"kind": "grouped"})
    assert [grouped.takes(FORMS.parse({"kind": "low_rank", "rank": rank})) for rank in (3, 8, 12, 64)] == [0, 1, 0, 1]


def form_of(kind: str) -> Form:
    return FORMS.parse({"kind": kind, **FIELDS.get(kind, {})})


@st.composite
def routings(draw: st.DrawFn) -> Routing:
    modules, rows = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    weights = st.sampled_from([1.0, 0.5, -0.25, 2.0])
    own = st.dictionaries(st.integers(0, modules - 1), weights, max_size=modules)
    one = st.integers(0, modules - 1).map(lambda module: {module: 1.0})
    return Routing.of(draw(st.lists(draw(st.sampled_from([own, one])), min_size=rows, max_size=rows)), modules)


def given_to(form: Form, routing: Routing, length: int, seed: int = 0) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    params = {name: random(routing.num_modules, *shape) for name, shape in form.shapes(IN, OUT).items()}
    return params, random(routing.num_rows, length, IN), random(routing.num_rows, length, OUT)


def test_there_are_the_dispatches_that_are_documented():
    assert {"loop", "gather", "joined", "grouped"} <= set(DISPATCHES.names())


@kinds
@settings(deadline=None, max_examples=40)
@given(routing=routings(), form=st.sampled_from(FORMS.names()), length=st.integers(1, 3), seed=st.integers(0, 99))
def test_every_dispatch_equals_the_loop(kind, routing, form, length, seed):
    form, dispatch, loop = form_of(form), DISPATCHES.parse({"kind": kind}), DISPATCHES.parse({"kind": "loop"})
    if not dispatch.takes(form):
        return
    params, x, y = given_to(form, routing, length, seed)
    wanted = loop.delta(form, params, routing, x, y)
    torch.testing.assert_close(dispatch.delta(form, params, routing, x, y), wanted, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        changed = y.clone()
        assert dispatch.added(form, params, routing, x, changed).data_ptr() == changed.data_ptr()
        torch.testing.assert_close(changed, y + wanted, rtol=1e-4, atol=1e-4)


@kinds
@pytest.mark.parametrize("form", FORMS.names())
def test_gradients_are_those_of_the_loop(kind, form):
    form, dispatch, loop = form_of(form), DISPATCHES.parse({"kind": kind}), DISPATCHES.parse({"kind": "loop"})
    if not dispatch.takes(form):
        return
    routing = Routing.of([{0: 1.0, 2: 0.5}, {}, {2: 1.0}, {1: -1.0}], 4)
    found = []
    for each in (dispatch, loop):
        params, x, y = given_to(form, routing, 2)
        weights = routing.weights.clone().requires_grad_()
        asked = [weights, x.requires_grad_(), y.requires_grad_(), *(t.requires_grad_() for t in params.values())]
        each.added(form, params, routing.weighted(weights), x, y).square().sum().backward()
        found.append([t.grad for t in asked])
    for own, wanted in zip(*found, strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-4, atol=1e-3)


@kinds
@pytest.mark.parametrize("form", FORMS.names())
def test_a_module_whose_numbers_are_not_numbers_leaves_rows_without_it_alone(kind, form):
    form, dispatch = form_of(form), DISPATCHES.parse({"kind": kind})
    if not dispatch.takes(form) or kind == "joined":
        return
    routing = Routing.one_each([0, None, 1], 2)
    params, x, y = given_to(form, routing, 2)
    for tensor in params.values():
        tensor[1] = float("nan")
    delta = dispatch.delta(form, params, routing, x, y)
    assert delta[:2].isfinite().all() and not delta[1].any() and delta[2].isnan().any()


@settings(deadline=None, max_examples=40)
@given(routing=routings(), chance=st.randoms(use_true_random=False))
def test_renumbering_modules_changes_nothing(routing, chance):
    form, loop = form_of("low_rank"), DISPATCHES.parse({"kind": "loop"})
    params, x, y = given_to(form, routing, 2)
    order = chance.sample(range(routing.num_modules), routing.num_modules)
    moved = {name: tensor[order] for name, tensor in params.items()}
    again = loop.delta(form, moved, routing.among(order), x, y)
    torch.testing.assert_close(again, loop.delta(form, params, routing, x, y))
