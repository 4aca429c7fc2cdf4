import torch
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.placement.evidence import RANKS, Evidence, gains_of, reliability_of, shared


def noise(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def quarters(signal, strength, seed=0):
    """Four sketches that share a signal, each with noise of its own."""
    return [strength * signal + noise(seed + number, *signal.shape) for number in range(4)]


def test_noise_alone_is_promised_next_to_nothing_and_a_signal_what_it_is_worth():
    signal = torch.outer(noise(8, 16), noise(9, 24))
    found = gains_of(quarters(signal, 1.0), in_width=16, tokens_per_row=0.5)
    worth = float(signal.square().sum())
    assert 0.8 * worth < found[0] < 1.3 * worth
    for seed in range(0, 40, 4):
        assert gains_of(quarters(signal, 0.0, seed), in_width=16, tokens_per_row=0.5)[-1] < 0.15 * worth


def test_a_signal_of_one_direction_gains_nothing_by_rank_and_a_broad_one_does():
    narrow, broad = torch.outer(noise(1, 32), noise(2, 40)), noise(3, 32, 40)
    one = gains_of([narrow] * 4, in_width=32, tokens_per_row=1)
    assert max(one) - min(one) < 1e-3 * max(one)
    many = gains_of([broad] * 4, in_width=32, tokens_per_row=1)
    assert many[0] < many[1] < many[2] < many[3] < many[4]


@given(st.integers(0, 10_000), st.floats(0, 2))
def test_a_larger_rank_is_never_promised_less_and_none_less_than_nothing(seed, strength):
    found = gains_of(quarters(noise(seed + 7, 8, 5), strength, seed), in_width=8, tokens_per_row=3)
    assert len(found) == len(RANKS) and found[0] >= 0 and list(found) == sorted(found)


def test_gains_grow_with_what_a_sketch_does_not_see_and_fall_with_the_tokens_of_a_row():
    sketches = [noise(3, 8, 5)] * 4
    whole = gains_of(sketches, in_width=8, tokens_per_row=1)[-1]
    assert abs(gains_of(sketches, in_width=32, tokens_per_row=1)[-1] - 4 * whole) < 1e-4 * whole
    assert abs(gains_of(sketches, in_width=8, tokens_per_row=10)[-1] - whole / 10) < 1e-4 * whole


def test_halves_that_rank_the_sites_alike_are_reliable_and_those_of_noise_are_not():
    alike = {(layer, "a"): quarters(noise(layer, 6, 6), 3.0 * layer, 40 * layer) for layer in range(12)}
    assert reliability_of(alike) > 0.9
    found = [
        reliability_of({(s, "a"): quarters(torch.zeros(6, 6), 0.0, 1000 * t + 4 * s) for s in range(12)})
        for t in range(20)
    ]
    assert abs(sum(found) / 20) < 0.3


def test_two_sites_are_too_few_to_tell():
    assert reliability_of({(0, "a"): [noise(1, 2, 2)] * 4, (1, "a"): [noise(2, 2, 2)] * 4}) == 0.0


def test_a_rank_between_two_is_promised_what_the_lower_one_is():
    found = Evidence({(0, "a"): (1.0, 2.0, 3.0, 4.0, 5.0)}, (0.0,), (1.0,), 1.0, 8, 0.1)
    assert [found.gain((0, "a"), rank) for rank in (1, 2, 3, 4, 9, 99)] == [0.0, 1.0, 1.0, 2.0, 3.0, 5.0]


def test_gains_are_shares_of_three_tenths_of_the_loss():
    raw = {(layer, "a"): tuple(float(layer * rank) for rank in RANKS) for layer in range(4)}
    found = shared(raw, unadapted_loss=2.0)
    assert abs(sum(gains[-1] for gains in found.values()) - 0.6) < 1e-9
    assert found[3, "a"][0] == 3 * found[1, "a"][0] and found[0, "a"] == (0.0,) * len(RANKS)
    nothing = {(0, "a"): (0.0,) * len(RANKS)}
    assert shared(nothing, 2.0) == nothing


def test_flat_evidence_is_the_same_everywhere_and_no_more_in_all():
    gains = {(layer, "a"): tuple(layer + rank / 99 for rank in RANKS) for layer in range(3)}
    told = Evidence(gains, (1.0,), (0.5,), 0.1, 8, 0.1)
    flat = told.flat()
    assert not told.is_reliable and len(set(flat.gains.values())) == 1
    assert abs(sum(g[-1] for g in flat.gains.values()) - sum(g[-1] for g in gains.values())) < 1e-9
    assert list(flat.gains[0, "a"]) == sorted(flat.gains[0, "a"])
