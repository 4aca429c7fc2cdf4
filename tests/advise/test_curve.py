"""What can be answered unseen, as far as some rows show."""

import torch

from tsugiki.advise.curve import _automatic


def test_as_many_are_answered_unseen_as_keep_to_the_precision():
    confidence = torch.tensor([0.9, 0.5, 0.8, 0.7, 0.6])
    right = torch.tensor([True, False, True, False, True])
    assert _automatic(confidence, right, 1.0) == 2 / 5
    assert _automatic(confidence, right, 0.75) == 4 / 5
    assert _automatic(confidence, right, 0.6) == 1.0


def test_where_the_surest_answers_are_wrong_none_is_unless_what_follows_makes_up_for_them():
    confidence = torch.tensor([0.9, 0.8, 0.7, 0.6])
    assert _automatic(confidence, torch.tensor([False, False, True, True]), 0.9) == 0.0
    assert _automatic(confidence, torch.tensor([False, True, True, True]), 0.75) == 1.0
