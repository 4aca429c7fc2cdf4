"""What every router keeps to; a new file in `adapt/routers` is tested here without a line more."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tsugiki.adapt.router import ROUTERS
from tsugiki.errors import RoutingError

kinds = pytest.mark.parametrize("kind", ROUTERS.names())


@st.composite
def tables(draw: st.DrawFn) -> Tensor:
    rows, modules = draw(st.integers(0, 5)), draw(st.integers(1, 5))
    score = st.floats(-8, 8, width=32) | st.just(float("-inf"))
    drawn = draw(st.lists(score, min_size=rows * modules, max_size=rows * modules))
    return torch.tensor(drawn).reshape(rows, modules)


def test_there_are_the_routers_that_are_documented():
    assert {"top_k", "threshold", "softmax", "oracle"} <= set(ROUTERS.names())


@kinds
@settings(deadline=None)
@given(scores=tables())
def test_weights_are_finite_and_what_may_not_act_does_not(kind, scores):
    weights = ROUTERS.parse({"kind": kind}).weights(scores)
    assert weights.shape == scores.shape and weights.isfinite().all() and (weights >= 0).all()
    assert not weights[scores == -torch.inf].any()


@kinds
@settings(deadline=None)
@given(scores=tables())
def test_where_nothing_is_better_the_route_is_null_but_for_a_dense_router(kind, scores):
    routing = ROUTERS.parse({"kind": kind}).route(-scores.nan_to_num(neginf=-1).abs())
    assert routing.is_null or kind == "softmax"


@kinds
@settings(deadline=None)
@given(scores=tables(), chance=st.randoms(use_true_random=False))
def test_renumbering_modules_renumbers_the_weights(kind, scores, chance):
    # Equal scores have no order among each other.
    scores = scores + torch.arange(scores.shape[1]) * 1e-3
    order = chance.sample(range(scores.shape[1]), scores.shape[1])
    router = ROUTERS.parse({"kind": kind})
    torch.testing.assert_close(router.weights(scores[:, order]), router.weights(scores)[:, order])


@kinds
def test_a_routing_holds_the_weights_that_are_not_zero(kind):
    scores = torch.tensor([[2.0, 1.0, -1.0], [-1.0, -2.0, -3.0], [0.1, 0.2, 0.3]])
    router = ROUTERS.parse({"kind": kind})
    torch.testing.assert_close(router.route(scores).dense(), router.weights(scores))
    assert router.route(scores).modules.diff().min() >= 0


@kinds
def test_a_score_that_is_not_a_number_is_refused(kind):
    scores = torch.zeros(2, 3)
    scores[1, 2] = float("nan")
    with pytest.raises(RoutingError) as error:
        ROUTERS.parse({"kind": kind}).route(scores)
    assert error.value.code == "routing.score" and "row 1" in str(error.value) and "module 2" in str(error.value)


@settings(deadline=None)
@given(scores=tables(), k=st.integers(1, 5))
def test_no_more_than_k_modules_act_and_their_weights_add_to_one(scores, k):
    if k > scores.shape[1]:
        with pytest.raises(RoutingError) as error:
            ROUTERS.parse({"kind": "top_k", "k": k}).route(scores)
        assert error.value.code == "routing.k" and f"1..{scores.shape[1]}" in str(error.value)
        return
    weights = ROUTERS.parse({"kind": "top_k", "k": k}).weights(scores)
    assert ((weights > 0).sum(1) <= k).all()
    some = (scores > 0).any(1)
    torch.testing.assert_close(weights.sum(1), some.float())


@pytest.mark.parametrize("kind", ["top_k", "threshold", "softmax"])
def test_the_gradient_reaches_the_scores(kind):
    scores = torch.tensor([[0.3, 0.5, 0.2], [0.1, -1.0, 0.4]], requires_grad=True)
    router = ROUTERS.parse({"kind": kind, **({"k": 2} if kind == "top_k" else {})})
    (router.weights(scores) * torch.tensor([[1.0, 2.0, 3.0]])).sum().backward()
    assert scores.grad is not None and scores.grad[0].any() and scores.grad.isfinite().all()
