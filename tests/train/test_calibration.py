"""Probabilities mean what they say."""

import torch

from tsugiki.evaluate.metrics import calibration_error
from tsugiki.tasks.kinds.classify import Classify
from tsugiki.train.calibration import review_of, temperature_of

FIVE = Classify(labels=tuple("abcde"))


def drawn(rows=4000, classes=5, seed=0):
    """Logits, and labels that are drawn from their softmax."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(rows, classes, generator=generator)
    return logits, torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]


def error(logits, classes):
    confidence, answers = logits.softmax(-1).max(-1)
    return calibration_error(confidence.numpy(), (answers == classes).numpy())


def test_a_temperature_undoes_a_scale():
    logits, classes = drawn()
    for scale in (0.2, 1.0, 6.0):
        assert abs(temperature_of(FIVE, scale * logits, classes) / scale - 1) < 0.1
    assert (
        error(6 * logits, classes) > 0.1 > 0.03 > error(6 * logits / temperature_of(FIVE, 6 * logits, classes), classes)
    )


def test_rows_of_classes_that_training_lacks_tell_nothing():
    logits, classes = drawn(50)
    assert temperature_of(FIVE, logits, torch.full_like(classes, -1)) == 1.0
    unknown = torch.cat([classes, torch.tensor([-1, -1])])
    assert temperature_of(FIVE, torch.cat([logits, logits[:2]]), unknown) == temperature_of(FIVE, logits, classes)


def test_a_row_of_a_class_that_training_lacks_is_a_wrong_answer():
    logits, classes = drawn(60)
    review = review_of(FIVE, logits, torch.full_like(classes, -1), 0.9)
    assert review is not None and review.points[-1][1:] == (60, 60)


def test_without_validation_rows_nothing_is_said():
    assert review_of(FIVE, torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64), 0.9) is None
