import math

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tsugiki.tasks.kinds.classify import Classify
from tsugiki.train.head import PENALTIES, fit_path


def clouds(n=90, features=6, classes=3, spread=0.4, seed=0):
    """Rows around one centre per class, far from each other; classes in turn."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    centres = 3.0 * torch.randn(classes, features, generator=generator)
    return centres[labels] + spread * torch.randn(n, features, generator=generator), labels


def task(classes):
    return Classify(labels=tuple("abcd"[:classes]))


def loss_of(head, features, labels):
    return float(torch.nn.functional.cross_entropy(head.scores(features), labels))


def test_separable_rows_are_separated_under_every_penalty():
    features, labels = clouds()
    heads = fit_path(features, labels, task(3))
    assert [head.penalty for head in heads] == list(PENALTIES)
    for head in heads:
        assert head.scores(features).argmax(-1).equal(labels)
        assert head.weight.shape == (3, 6) and head.bias.shape == (3,)


@pytest.mark.parametrize("penalty", [1e-2, 1e-3, 1e-4])
def test_the_head_is_the_solution_that_sklearn_finds_for_the_same_penalty(penalty):
    features, labels = clouds(spread=4.0)
    features = features * torch.tensor([1.0, 10.0, 0.1, 5.0, 1.0, 2.0]) + 7.0
    (head,) = fit_path(features, labels, task(3), (penalty,), max_iter=500)
    scaled = (features - features.mean(0)) / features.std(0, correction=0) / 6**0.5
    # sklearn minimises C * sum of losses + |W|^2 / 2.
    reference = LogisticRegression(C=1 / (penalty * len(labels)), tol=1e-10, max_iter=10_000).fit(scaled, labels)
    expected = torch.from_numpy(reference.predict_proba(scaled)).float()
    assert (head.scores(features).softmax(-1) - expected).abs().max() < 5e-3
    scale = features.std(0, correction=0) * 6**0.5
    assert torch.allclose(head.weight * scale, torch.from_numpy(reference.coef_).float(), rtol=0.02, atol=0.05)


def test_a_larger_penalty_makes_smaller_weights_and_a_looser_fit():
    features, labels = clouds(spread=2.0)
    heads = fit_path(features, labels, task(3))
    sizes = [float(head.weight.norm()) for head in heads]
    losses = [loss_of(head, features, labels) for head in heads]
    assert sizes == sorted(sizes) and sizes[-1] > 2 * sizes[0]
    assert losses == sorted(losses, reverse=True)


def test_a_class_without_rows_is_the_least_probable_and_finite():
    features, labels = clouds()
    for head in fit_path(features, labels, task(4)):
        scores = head.scores(features)
        assert scores.isfinite().all() and head.weight.isfinite().all()
        assert scores.softmax(-1)[:, 3].max() < 0.05


def test_a_constant_feature_changes_nothing():
    features, labels = clouds()
    constant = torch.cat([features, torch.full((len(features), 1), 5.0)], 1)
    for head in fit_path(constant, labels, task(3)):
        assert head.weight.isfinite().all() and head.scores(constant).isfinite().all()
        assert head.scores(constant).argmax(-1).equal(labels)
        assert head.weight[:, 6].abs().max() * 5.0 < 1e-3


def test_features_that_do_not_tell_classes_apart_give_the_shares_of_the_classes():
    features = torch.zeros(40, 5)
    labels = torch.tensor([0] * 30 + [1] * 10)
    for head in fit_path(features, labels, task(2)):
        assert torch.allclose(head.scores(features[:1]).softmax(-1), torch.tensor([[0.75, 0.25]]), atol=0.02)


def test_one_row_per_class_is_learnt():
    features, labels = clouds(n=3)
    for head in fit_path(features, labels, task(3)):
        assert head.scores(features).argmax(-1).equal(labels)


def test_units_and_origin_of_the_features_do_not_matter():
    features, labels = clouds(spread=2.0)
    moved = features * 1000.0 - 500.0
    for plain, other in zip(fit_path(features, labels, task(3)), fit_path(moved, labels, task(3)), strict=True):
        assert torch.allclose(plain.scores(features).softmax(-1), other.scores(moved).softmax(-1), atol=2e-3)


def test_equal_rows_give_equal_heads():
    features, labels = clouds(spread=2.0)
    for one, other in zip(
        fit_path(features, labels, task(3)), fit_path(features.clone(), labels, task(3)), strict=True
    ):
        assert one.weight.equal(other.weight) and one.bias.equal(other.bias)


def test_the_random_state_of_torch_is_left_alone():
    before = torch.get_rng_state()
    features, labels = clouds()
    fit_path(features, labels, task(3))
    assert torch.get_rng_state().equal(before)


def test_the_number_of_rows_does_not_change_what_a_penalty_means():
    features, labels = clouds(spread=2.0)
    (once,) = fit_path(features, labels, task(3), (1e-2,), max_iter=300)
    (thrice,) = fit_path(features.repeat(3, 1), labels.repeat(3), task(3), (1e-2,), max_iter=300)
    assert torch.allclose(once.weight, thrice.weight, atol=2e-3)
    assert math.isclose(loss_of(once, features, labels), loss_of(thrice, features, labels), abs_tol=1e-4)
