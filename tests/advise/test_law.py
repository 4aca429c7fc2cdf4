"""Power laws through few noisy points."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsugiki.advise.law import Law, Point

SIZES = (16, 32, 64, 128, 256, 400)


def points(floor=0.1, factor=2.0, exponent=0.5, draws=5, held=200, noise=0.0, seed=0, sizes=SIZES):
    """Measured shares of right answers that follow a law, with chance of the drawing and of the rows asked."""
    chance = np.random.default_rng(seed)
    found = []
    for size in sizes:
        right = 1 - floor - factor * size**-exponent
        own = np.clip(right + noise * size**-0.5 * chance.standard_normal(draws), 0.01, 0.99)
        found.append(Point(size, tuple(chance.binomial(held, own) / held if noise else own), held))
    return found


def test_points_without_noise_are_met_and_gone_on_from():
    law = Law.fit(points(held=100_000), 100_000)
    assert law.at(400).middle == pytest.approx(1 - 0.1 - 2.0 * 400**-0.5, abs=0.01)
    assert law.at(800).middle == pytest.approx(1 - 0.1 - 2.0 * 800**-0.5, abs=0.015)


def test_far_beyond_what_was_measured_less_is_known():
    law = Law.fit(points(noise=0.3, sizes=(16, 32, 64)), 500)
    near, far = law.at(128), law.at(4_096)
    assert far.high - far.low > near.high - near.low


def test_a_result_on_few_rows_is_expected_in_a_wider_band_and_a_higher_level_is_wider():
    law = Law.fit(points(), 500)
    assert law.at(800, held=50).high - law.at(800, held=50).low > law.at(800).high - law.at(800).low
    assert law.at(800, level=0.95).low < law.at(800, level=0.8).low


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 0.4), st.floats(0.5, 3), st.floats(0.1, 1.0), st.integers(0, 10_000))
def test_more_rows_never_promise_less_and_bands_hold_shares(floor, factor, exponent, seed):
    law = Law.fit(points(floor, factor, exponent, noise=0.2, seed=seed), 500)
    bands = [law.at(rows) for rows in (16, 100, 400, 800, 10_000)]
    assert all(0 <= band.low <= band.middle <= band.high <= 1 for band in bands)
    middles = [band.middle for band in bands]
    assert middles == sorted(middles)


def test_one_point_of_one_draw_is_enough_for_a_wide_band():
    law = Law.fit([Point(16, (0.5,), 4)], 20)
    band = law.at(32)
    assert band.low < 0.5 < band.high


def test_bands_of_four_fifths_hold_about_so_many_of_what_comes():
    chance = np.random.default_rng(1)
    held = 0
    for seed in range(150):
        floor, factor, exponent = chance.uniform(0.02, 0.3), chance.uniform(0.8, 2.5), chance.uniform(0.2, 0.6)
        noise, asked = 0.4, 100
        true = points(floor, factor, exponent, noise=noise, held=asked, seed=seed)
        # All points were measured on rows of one small set: its luck shifts them together.
        right = 1 - floor - factor * 400**-exponent
        luck = chance.normal(0, (right * (1 - right) / 500) ** 0.5)
        shifted = [Point(p.rows, tuple(np.clip(np.array(p.shares) + luck, 0, 1)), p.held) for p in true]
        band = Law.fit(shifted, 500).at(800, held=1_000)
        came = 1 - floor - factor * 800**-exponent + noise * 800**-0.5 * chance.standard_normal()
        held += band.low <= chance.binomial(1_000, min(max(came, 0), 1)) / 1_000 <= band.high
    assert 0.7 <= held / 150 <= 0.92
