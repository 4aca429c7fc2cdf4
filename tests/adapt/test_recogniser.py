import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import one_hot

from tsugiki.adapt.correction import Correction
from tsugiki.adapt.recogniser import Recogniser, floor_of, statistics_at
from tsugiki.adapt.statistics import projection, statistics_of

DIGEST, WIDTH = "0123456789abcdef" * 4, 48


def rows(number, shift, seed):
    x = torch.randn(number, 3, WIDTH, generator=torch.Generator().manual_seed(seed))
    return x + shift * torch.eye(WIDTH)[int(abs(shift)) % WIDTH]


def recogniser(held=(200, 200), share=0.05, offsets=(0.0, 0.0)):
    """Two adapters whose rows lie apart."""
    found = []
    for at, (shift, number) in enumerate(zip((6.0, -6.0), held, strict=True)):
        classes = one_hot(torch.arange(120) % 3, 3).float()
        statistics = statistics_of(DIGEST, rows(120, shift, at), classes, rows(number, shift, 10 + at), (1,))
        found.append(statistics_at(statistics, 1))
    floors = [floor_of(own["densities"], share, 0.9) for own in found]
    return Recogniser(found, projection(DIGEST, WIDTH), floors, Correction(torch.zeros(2, 128), torch.tensor(offsets)))


def test_own_inputs_are_known_and_go_to_their_adapter_and_foreign_ones_to_none():
    found = recogniser()
    for at, shift in enumerate((6.0, -6.0)):
        scores = found.scores(rows(300, shift, 20 + at)[:, 1])
        known = scores.max(1).values > 0
        assert known.float().mean() > 0.9 and (scores[known].argmax(1) == at).all()
    assert (found.scores(rows(300, 30.0, 30)[:, 1]) == -torch.inf).all()


def test_scores_rank_adapters_by_familiarity_and_are_above_zero_where_an_input_is_known():
    found, x = recogniser(share=0.01), rows(200, 0.0, 40)[:, 1]
    scores, densities = found.scores(x), found.densities(x)
    known = densities >= torch.tensor([floor.density for floor in found.floors])
    known &= known.gather(1, densities.argmax(1, keepdim=True))
    assert torch.equal(scores > 0, known) and not scores.isnan().any()
    both = known.all(1)
    assert torch.equal(scores[both].argmax(1), densities[both].argmax(1))


def test_a_correction_decides_between_adapters_and_not_whether_an_input_is_known():
    x = rows(200, 0.0, 40)[:, 1]
    plain, shifted = (recogniser(share=0.01, offsets=(0.0, by)).scores(x) for by in (0.0, 50.0))
    both = (plain > 0).all(1)
    assert both.any() and (shifted[both].argmax(1) == 1).all()
    densities = recogniser().densities(x)
    known = densities >= torch.tensor([floor.density for floor in recogniser(share=0.01).floors])
    assert ((shifted > 0) <= known).all()


@settings(deadline=None, max_examples=60)
@given(number=st.integers(1, 400), share=st.floats(0.01, 0.3), confidence=st.floats(0.5, 0.99))
def test_a_floor_loses_no_more_than_the_bound_allows(number, share, confidence):
    floor = floor_of(torch.arange(number).float(), share, confidence)
    assert (floor.density, floor.num_rows) == (float(floor.num_lost), number)
    assert floor.share <= share or floor.num_lost == 0
    if not floor.num_lost:
        # Not one was lost, which proves so much and no more.
        assert floor.share == pytest.approx(1 - (1 - confidence) ** (1 / number), rel=1e-6)


def test_230_rows_without_an_error_prove_one_point_at_nine_in_ten():
    assert floor_of(torch.arange(229).float(), 0.01, 0.9).share > 0.01
    assert floor_of(torch.arange(230).float(), 0.01, 0.9).share <= 0.01


def test_without_a_held_out_row_everything_is_known_and_nothing_proved():
    found = recogniser(held=(200, 0))
    assert found.floors[1].density == -math.inf and found.floors[1].share == 1.0
    foreign = rows(50, 30.0, 5)[:, 1]
    scores = found.scores(foreign)[found.densities(foreign).argmax(1) == 1]
    assert len(scores) > 40 and (scores[:, 1] > 0).all() and scores[:, 1].isfinite().all()
    assert (scores[:, 0] == -torch.inf).all()


def test_what_the_nearest_adapter_does_not_know_goes_to_no_other():
    found = recogniser(held=(200, 0))
    # Far out on the side of the first, whose floor it is below; the second has no floor and knows everything.
    beyond = rows(50, 6.0, 6)[:, 1] + 40 * torch.eye(WIDTH)[6]
    densities = found.densities(beyond)
    nearest = densities.argmax(1) == 0
    scores = found.scores(beyond)
    assert (scores[nearest] == -torch.inf).all() and (scores[~nearest, 1] > 0).all()
