import pytest
import torch
from torch.nn.functional import one_hot

from tsugiki.adapt.statistics import MIN_CLASS_ROWS, PROJECTED, projection, statistics_of

DIGEST, OTHER = "0123456789abcdef" * 4, "fedcba9876543210" * 4


def states(rows, *, width=48, layers=4, seed=0):
    return torch.randn(rows, layers + 1, width, generator=torch.Generator().manual_seed(seed))


def describe(rows=40, held=10, classes=None, layers=(1, 2, 4), pooled=None, num_classes=3):
    pooled = states(rows) if pooled is None else pooled
    classes = torch.arange(len(pooled)) % num_classes if classes is None else classes
    return statistics_of(DIGEST, pooled, one_hot(classes, num_classes).float(), states(held, seed=1), layers)


def test_equal_digests_give_equal_projections_and_others_do_not():
    assert torch.equal(projection(DIGEST, 48), projection(DIGEST, 48))
    assert not torch.allclose(projection(DIGEST, 48), projection(OTHER, 48))
    assert projection(DIGEST, 48).shape == (48, PROJECTED)


def test_the_projection_of_a_digest_is_the_same_on_every_machine():
    assert projection(DIGEST, 2)[0, :3].tolist() == pytest.approx([-0.14329, 0.06975, 0.19290], abs=1e-5)


def test_a_projection_keeps_distances_on_the_average():
    x = states(200, width=384)[:, 0]
    ratio = (x @ projection(DIGEST, 384)).square().sum(-1) / x.square().sum(-1)
    assert ratio.mean().item() == pytest.approx(PROJECTED / 384, rel=0.05)


def test_each_layer_asked_for_is_described_once():
    found = describe(layers=(4, 1, 1))
    parts = {
        "mean": (PROJECTED,),
        "covariance": (PROJECTED, PROJECTED),
        "class_means": (3, PROJECTED),
        "within": (PROJECTED, PROJECTED),
        "densities": (10,),
    }
    shapes = {f"{part}.{layer}": shape for part, shape in parts.items() for layer in (1, 4)}
    assert {k: tuple(t.shape) for k, t in found.items()} == shapes | {"class_counts": (3,), "num_rows": (1,)}
    assert found["num_rows"].tolist() == [40]


def test_means_are_those_of_the_projected_rows_and_classes():
    pooled = states(40)
    found = describe(pooled=pooled)
    x = pooled[:, 2] @ projection(DIGEST, 48)
    torch.testing.assert_close(found["mean.2"], x.mean(0))
    for c in range(3):
        torch.testing.assert_close(found["class_means.2"][c], x[c::3].mean(0), rtol=1e-4, atol=1e-6)


def test_covariances_are_symmetric_positive_and_shrunk_towards_a_sphere():
    covariance = describe(rows=400)["covariance.1"]
    x = states(400)[:, 1] @ projection(DIGEST, 48)
    plain = torch.cov(x.T, correction=0)
    assert torch.equal(covariance, covariance.T)
    spread, plain_spread = torch.linalg.eigvalsh(covariance), torch.linalg.eigvalsh(plain)
    assert spread.min() > 0 and spread.max() < plain_spread.max()
    torch.testing.assert_close(covariance.trace(), plain.trace(), rtol=1e-4, atol=0)


def test_classes_of_too_few_rows_are_not_described():
    classes = torch.tensor([0] * 30 + [1] * MIN_CLASS_ROWS + [2] * (MIN_CLASS_ROWS - 1))
    found = describe(pooled=states(len(classes)), classes=classes, num_classes=4)
    assert found["class_counts"].tolist() == [30, MIN_CLASS_ROWS, 0, 0]
    for layer in (1, 2, 4):
        described = found[f"class_means.{layer}"].abs().sum(-1) > 0
        assert described.tolist() == [True, True, False, False]


def test_densities_are_those_of_held_out_rows_in_order():
    near = describe(held=50)
    far = statistics_of(DIGEST, states(40), one_hot(torch.arange(40) % 3).float(), 10 * states(50, seed=1), (1,))
    for layer in (1, 2, 4):
        assert near[f"densities.{layer}"].diff().min() >= 0
    assert far["densities.1"].max() < near["densities.1"].min()
    assert len(describe(held=0)["densities.1"]) == 0


def test_the_spread_within_classes_is_less_than_that_of_all_rows():
    pooled, classes = states(300), torch.arange(300) % 3
    pooled += 3 * classes[:, None, None]
    found = describe(pooled=pooled, classes=classes)
    assert found["within.2"].trace() < 0.5 * found["covariance.2"].trace()


def test_rows_of_several_classes_are_taken_around_all_their_means():
    indicator = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]).repeat(10, 1)
    found = statistics_of(DIGEST, states(40), indicator, states(9, seed=1), (2,))
    assert all(tensor.isfinite().all() for tensor in found.values())


@pytest.mark.parametrize("rows", [1, 2, 3, 40])
@pytest.mark.parametrize("held", [0, 1, 10])
@pytest.mark.parametrize("constant", [False, True])
def test_nothing_is_ever_nan(rows, held, constant):
    pooled = states(rows)
    if constant:
        pooled = torch.ones_like(pooled)
    found = describe(pooled=pooled, held=held)
    assert all(tensor.isfinite().all() for tensor in found.values())
    assert not constant or found["covariance.1"].abs().max() < 1e-10
