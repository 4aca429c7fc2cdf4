import pytest
import torch
from torch.nn import functional

from tsugiki.adapt.classifier import Classifier
from tsugiki.adapt.reader import mean_pool
from tsugiki.adapt.readers.mean import Mean
from tsugiki.adapt.readers.readout import Readout

CLASSES, STATES, WIDTH = 3, 2, 8


@pytest.fixture
def chance():
    return torch.Generator().manual_seed(0)


def head(chance, **changes) -> Classifier:
    weight, bias = torch.randn(CLASSES, STATES * WIDTH, generator=chance), torch.randn(CLASSES, generator=chance)
    return Classifier((1, 2), Readout(queries=2), Readout(queries=2).init(STATES, WIDTH), weight, bias, **changes)


def standardised(chance) -> Classifier:
    mean = torch.randn(STATES * WIDTH, generator=chance)
    scale = torch.rand(STATES * WIDTH, generator=chance) + 0.1
    return head(chance, mean=mean, scale=scale)


def test_a_classifier_gives_the_scores_of_the_weight_it_was_made_from(chance):
    features = torch.randn(5, STATES * WIDTH, generator=chance)
    weight, bias = torch.randn(CLASSES, STATES * WIDTH, generator=chance), torch.randn(CLASSES, generator=chance)
    mean, scale = torch.randn(STATES * WIDTH, generator=chance), torch.rand(STATES * WIDTH, generator=chance) + 0.1
    plain = Classifier((1, 2), Mean(), {}, weight, bias)
    scaled = Classifier((1, 2), Mean(), {}, weight, bias, mean, scale)
    wanted = functional.linear(features, weight, bias)
    assert torch.equal(plain(features), wanted)
    torch.testing.assert_close(scaled(features), wanted, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(scaled.weight, weight)


def test_what_it_learnt_folds_back_to_features_as_they_are(chance):
    classifier = standardised(chance)
    with torch.no_grad():
        classifier.weight.add_(torch.randn(classifier.weight.shape, generator=chance))
        classifier.bias.add_(1.0)
    features = torch.randn(5, STATES * WIDTH, generator=chance)
    weight, bias = classifier.folded()
    assert not weight.requires_grad and not bias.requires_grad
    torch.testing.assert_close(functional.linear(features, weight, bias), classifier(features), rtol=1e-4, atol=1e-5)
    again = Classifier((1, 2), Mean(), {}, weight, bias)
    torch.testing.assert_close(again(features), classifier(features), rtol=1e-4, atol=1e-5)


def test_it_reads_states_with_its_own_parameters(chance):
    classifier = head(chance)
    states = torch.randn(STATES, 2, 5, WIDTH, generator=chance)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    means = mean_pool(states, mask).transpose(0, 1).flatten(1)
    torch.testing.assert_close(classifier.read(states, mask), means)
    with torch.no_grad():
        classifier.reader_params["queries"].add_(1.0)
    assert not torch.allclose(classifier.read(states, mask), means)


def test_head_and_reader_are_trained_and_the_standardisation_is_not(chance):
    classifier = standardised(chance)
    states = torch.randn(STATES, 4, 5, WIDTH, generator=chance)
    classifier(classifier.read(states, torch.ones(4, 5))).square().sum().backward()
    assert {name for name, p in classifier.named_parameters() if p.grad is not None and p.grad.any()} == {
        "weight",
        "bias",
        "reader_params.queries",
    }
    assert set(dict(classifier.named_buffers())) == {"mean", "scale"}


def test_the_parameters_it_was_made_from_are_not_trained_along(chance):
    given = {"queries": torch.zeros(STATES, 2, WIDTH)}
    weight, bias = torch.zeros(CLASSES, STATES * WIDTH), torch.zeros(CLASSES)
    classifier = Classifier((1, 2), Readout(queries=2), given, weight, bias)
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.add_(1.0)
    assert not given["queries"].any() and not weight.any() and not bias.any()
