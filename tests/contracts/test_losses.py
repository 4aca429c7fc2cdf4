"""What every loss of gates keeps to; a new file in `train/losses` is tested here without a line more."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tsugiki.adapt.gating import Decision
from tsugiki.adapt.router import ROUTERS
from tsugiki.errors import ConfigError
from tsugiki.train.loss import LOSSES

kinds = pytest.mark.parametrize("kind", LOSSES.names())
ROUTER = ROUTERS.parse({"kind": "threshold"})


def decision(scores, num_named=0, padded=()):
    rows = torch.arange(len(scores))
    rows[list(padded)] = -1
    weights = ROUTER.weights(scores.detach().where(rows[:, None] >= 0, -torch.inf))
    return Decision(scores, weights, num_named, rows)


@st.composite
def tables(draw: st.DrawFn) -> torch.Tensor:
    rows, groups = draw(st.integers(2, 5)), draw(st.integers(2, 4))
    drawn = draw(st.lists(st.floats(-8, 8, width=32), min_size=rows * groups, max_size=rows * groups))
    return torch.tensor(drawn).reshape(rows, groups)


def test_there_are_the_losses_that_are_documented():
    assert {"sparsity", "z", "balance"} <= set(LOSSES.names())


@kinds
@settings(deadline=None)
@given(scores=tables(), weight=st.floats(-2, 2, width=32))
def test_a_loss_is_one_finite_number_with_a_finite_gradient(kind, scores, weight):
    scores = scores.requires_grad_()
    found = LOSSES.parse({"kind": kind}).of(decision(scores), torch.tensor(weight))
    assert found.shape == () and found.isfinite()
    found.backward()
    assert scores.grad is not None and scores.grad.isfinite().all()


@kinds
@settings(deadline=None)
@given(scores=tables())
def test_neither_padding_nor_the_score_of_a_domain_changes_a_loss(kind, scores):
    loss, weight = LOSSES.parse({"kind": kind}), torch.tensor(1.0)
    plain = loss.of(decision(scores), weight)
    more = torch.cat([torch.full((1, scores.shape[1]), 5.0), scores])
    torch.testing.assert_close(loss.of(decision(more, padded=[0]), weight), plain)
    named = torch.cat([torch.full((len(scores), 1), 3.0), scores], 1)
    torch.testing.assert_close(loss.of(decision(named, num_named=1), weight), plain)


def test_sparsity_pulls_towards_the_target_from_both_sides():
    loss = LOSSES.parse({"kind": "sparsity", "active": 0.5})
    for share, sign in ((0.9, 1.0), (0.1, -1.0)):
        scores = torch.tensor([[0.5, -0.5]], requires_grad=True)
        loss.of(decision(scores), torch.tensor(loss.adapted(share))).backward()
        # A step goes against the gradient: down where too many act, up where too few do.
        assert scores.grad is not None and float(scores.grad.sum()) * sign > 0
    assert loss.adapted(0.5) == 0.0


@settings(deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=20, max_size=60, unique=True), st.floats(0.1, 0.9))
def test_what_is_missing_in_the_end_is_a_shift_of_all_scores(told, active):
    scores = torch.tensor(told, dtype=torch.float64)
    shift = LOSSES.parse({"kind": "sparsity", "active": active}).shift(scores)
    assert abs(float((scores + shift > 0).double().mean()) - active) <= 1 / len(told) + 1e-9


def test_a_loss_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ConfigError, match="sparsity"):
        LOSSES.parse({"kind": "entropy"})
