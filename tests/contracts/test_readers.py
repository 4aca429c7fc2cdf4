"""What every reader keeps to; a new file in `adapt/readers` is tested here without a line more."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tsugiki.adapt.reader import READERS, Reader, mean_pool
from tsugiki.errors import ConfigError

KINDS = READERS.names()
WIDTH, STATES = 16, 3

kinds = pytest.mark.parametrize("kind", KINDS)


def trained(reader: Reader, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {k: t + torch.randn(t.shape, generator=generator) for k, t in reader.init(STATES, WIDTH).items()}


def states_of(lengths: list[int], width: int = WIDTH, seed: int = 0, out_length: int | None = None):
    """K states and a mask with rows of these lengths; padding is zero."""
    generator = torch.Generator().manual_seed(seed)
    longest = out_length or max(lengths)
    states = torch.zeros(STATES, len(lengths), longest, width)
    mask = torch.zeros(len(lengths), longest, dtype=torch.int64)
    for row, length in enumerate(lengths):
        states[:, row, :length] = 2 * torch.randn(STATES, length, width, generator=generator)
        mask[row, :length] = 1
    return states, mask


def test_there_are_the_readers_that_are_documented():
    assert {"mean", "readout"} <= set(KINDS)


@kinds
def test_a_reader_is_named_after_its_file_and_refuses_unknown_fields(kind):
    reader = READERS.parse({"kind": kind})
    assert reader.kind == kind and READERS.parse(reader.model_dump(mode="json")) == reader
    with pytest.raises(ConfigError) as error:
        READERS.parse({"kind": kind, "quieres": 2})
    assert error.value.code == "config.invalid" and "quieres" in str(error.value)


@kinds
def test_shapes_are_those_of_a_fresh_reader_and_their_sizes_add_up(kind):
    reader = READERS.parse({"kind": kind})
    params = reader.init(STATES, WIDTH)
    assert {name: tuple(tensor.shape) for name, tensor in params.items()} == reader.shapes(STATES, WIDTH)
    assert reader.num_params(STATES, WIDTH) == sum(tensor.numel() for tensor in params.values())


@kinds
@settings(deadline=None, max_examples=30)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_a_fresh_reader_is_mean_pooling_state_by_state(kind, lengths, seed):
    reader = READERS.parse({"kind": kind})
    states, mask = states_of(lengths, seed=seed)
    found = reader.read(reader.init(STATES, WIDTH), states, mask)

    means = torch.stack([states[:, row, :length].mean(1) for row, length in enumerate(lengths)])
    torch.testing.assert_close(found, means.flatten(1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found, mean_pool(states, mask).transpose(0, 1).flatten(1), rtol=1e-6, atol=1e-6)


@kinds
@settings(deadline=None, max_examples=30)
@given(
    lengths=st.lists(st.integers(0, 8), min_size=1, max_size=5),
    more=st.integers(0, 6),
    garbage=st.sampled_from([-1e4, 0.5, 1e6]),
    seed=st.integers(0, 1000),
)
def test_padding_never_matters(kind, lengths, more, garbage, seed):
    reader = READERS.parse({"kind": kind})
    params = trained(reader, seed)
    longest = max(1, *lengths)
    states, mask = states_of(lengths, seed=seed, out_length=longest)
    padded, padded_mask = states_of(lengths, seed=seed, out_length=longest + more)
    padded = torch.where(padded_mask[None, :, :, None] == 0, torch.tensor(garbage), padded)

    found, wanted = reader.read(params, padded, padded_mask), reader.read(params, states, mask)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@kinds
def test_a_row_is_read_alike_alone_and_in_a_batch(kind):
    reader = READERS.parse({"kind": kind})
    params = trained(reader)
    states, mask = states_of([3, 7, 1])
    together = reader.read(params, states, mask)
    for row, length in enumerate([3, 7, 1]):
        alone = reader.read(params, states[:, row : row + 1, :length], mask[row : row + 1, :length])
        torch.testing.assert_close(alone[0], together[row])


@kinds
def test_a_row_without_a_token_reads_as_zeros_and_keeps_gradients_finite(kind):
    reader = READERS.parse({"kind": kind})
    params = {name: tensor.requires_grad_() for name, tensor in trained(reader).items()}
    states, mask = states_of([0, 4])
    found = reader.read(params, states.requires_grad_(), mask)
    assert not found[0].any() and found[1].any()
    found.sum().backward()
    gradients = [states.grad, *(tensor.grad for tensor in params.values())]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@kinds
def test_features_are_as_wide_as_the_states_together_and_float32(kind):
    reader = READERS.parse({"kind": kind})
    states, mask = states_of([3, 5])
    for dtype in (torch.float32, torch.bfloat16):
        found = reader.read(trained(reader), states.to(dtype), mask)
        assert found.shape == (2, STATES * WIDTH) and found.dtype is torch.float32 and found.isfinite().all()


@kinds
def test_every_parameter_of_a_reader_has_a_gradient(kind):
    reader = READERS.parse({"kind": kind})
    params = {name: tensor.requires_grad_() for name, tensor in reader.init(STATES, WIDTH).items()}
    states, mask = states_of([3, 5])
    features = reader.read(params, states.requires_grad_(), mask)
    features.square().sum().backward()
    assert states.grad is not None and states.grad.any()
    assert all(tensor.grad is not None and tensor.grad.any() for tensor in params.values())
