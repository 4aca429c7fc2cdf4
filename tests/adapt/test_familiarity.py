import torch
from torch.distributions import MultivariateNormal

from tsugiki.adapt.familiarity import Familiarity


def statistics(means, within, counts=None, width=4):
    return {
        "mean": torch.zeros(width),
        "covariance": 9 * torch.eye(width),
        "class_means": means,
        "within": within,
        "class_counts": torch.full((len(means),), 8) if counts is None else counts,
    }


def test_the_density_is_that_of_equal_normal_parts():
    generator = torch.Generator().manual_seed(0)
    means, root = torch.randn(3, 4, generator=generator), torch.randn(4, 4, generator=generator)
    within = root @ root.T + torch.eye(4)
    x = torch.randn(20, 4, generator=generator)
    parts = torch.stack([MultivariateNormal(mean, within).log_prob(x) for mean in means])
    wanted = torch.logsumexp(parts, 0) - torch.tensor(3.0).log()
    torch.testing.assert_close(Familiarity.of(statistics(means, within)).log_density(x), wanted, rtol=1e-3, atol=1e-2)


def test_classes_that_are_not_described_count_for_nothing():
    means = torch.stack([torch.zeros(4), torch.full((4,), 5.0)])
    only = Familiarity.of(statistics(means, torch.eye(4), torch.tensor([8, 0])))
    density = only.log_density(means)
    assert density[0] > density[1] + 10


def test_without_a_class_all_rows_are_one():
    found = Familiarity.of(statistics(torch.ones(2, 4), torch.eye(4), torch.tensor([0, 0])))
    near, far = found.log_density(torch.stack([torch.zeros(4), torch.full((4,), 30.0)])).tolist()
    assert near > far


def test_a_spread_of_nothing_gives_numbers():
    found = Familiarity.of(statistics(torch.zeros(1, 4), torch.zeros(4, 4)))
    assert found.log_density(torch.zeros(1, 4)).isfinite().all()
