"""Batches keep to their token budget and hold every row once."""

from hypothesis import given
from hypothesis import strategies as st

from tsugiki.data.batches import equal_length_batches, length_batches

lengths = st.lists(st.integers(0, 300), max_size=200)
budgets = st.integers(1, 2_000)
seeds = st.one_of(st.none(), st.integers(0, 9), st.tuples(st.integers(0, 9), st.integers(0, 9)))


def once(batches: list[list[int]], count: int) -> bool:
    return sorted(i for batch in batches for i in batch) == list(range(count))


@given(lengths, budgets, st.integers(1, 50), seeds)
def test_every_row_is_in_one_batch_and_batches_keep_their_limits(tokens, max_tokens, max_rows, seed):
    batches = length_batches(tokens, max_tokens, max_rows, shuffle_seed=seed)
    assert once(batches, len(tokens))
    for batch in batches:
        assert 1 <= len(batch) <= max_rows
        assert len(batch) == 1 or max(tokens[i] for i in batch) * len(batch) <= max_tokens


@given(lengths, budgets, st.integers(1, 50), seeds)
def test_the_same_seed_makes_the_same_batches(tokens, max_tokens, max_rows, seed):
    first = length_batches(tokens, max_tokens, max_rows, shuffle_seed=seed)
    assert first == length_batches(tokens, max_tokens, max_rows, shuffle_seed=seed)


@given(lengths, budgets, st.integers(1, 50))
def test_without_a_seed_the_longest_come_first_and_ties_keep_their_order(tokens, max_tokens, max_rows):
    order = [i for batch in length_batches(tokens, max_tokens, max_rows) for i in batch]
    assert order == sorted(range(len(tokens)), key=lambda i: (-tokens[i], i))


def test_epochs_differ_in_order_and_company():
    tokens = [10 + i % 5 for i in range(200)]
    first, second = (length_batches(tokens, 200, 20, shuffle_seed=(0, epoch)) for epoch in (0, 1))
    assert first != second
    assert {frozenset(batch) for batch in first} != {frozenset(batch) for batch in second}


def test_shuffling_costs_little_padding():
    tokens = [5 + (i * i) % 250 for i in range(2_000)]
    batches = length_batches(tokens, 2_048, 64, shuffle_seed=(0, 0))
    padded = sum(max(tokens[i] for i in batch) * len(batch) for batch in batches)
    assert padded < 1.15 * sum(tokens)


@given(lengths, budgets)
def test_rows_of_equal_length_meet_without_padding(tokens, max_tokens):
    batches = equal_length_batches(tokens, max_tokens)
    assert once(batches, len(tokens))
    for batch in batches:
        assert len({tokens[i] for i in batch}) == 1
        assert len(batch) == 1 or tokens[batch[0]] * len(batch) <= max_tokens
