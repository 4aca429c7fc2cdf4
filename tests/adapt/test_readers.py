import torch

from tsugiki.adapt.reader import mean_pool
from tsugiki.adapt.readers.mean import Mean
from tsugiki.adapt.readers.readout import Readout


def test_mean_pooling_counts_tokens_only_and_widens_to_float32():
    states = torch.tensor([[[1.0], [3.0], [100.0]], [[5.0], [7.0], [9.0]]], dtype=torch.bfloat16)
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    found = mean_pool(states, mask)
    assert found.dtype is torch.float32 and found.tolist() == [[2.0], [7.0]]


def test_mean_pooling_of_no_token_is_zero():
    assert mean_pool(torch.ones(1, 2, 3), torch.zeros(1, 2)).tolist() == [[0.0, 0.0, 0.0]]


def test_a_mean_reader_has_nothing_to_learn():
    assert Mean().init(3, 8) == {} and Mean().num_params(3, 8) == 0


def test_a_query_of_a_readout_finds_its_token_and_pools_its_own_share_of_the_channels():
    reader = Readout(queries=2)
    states = torch.randn(1, 1, 4, 6, generator=torch.Generator().manual_seed(0))
    queries = torch.zeros(1, 2, 6)
    queries[0, 0] = 1000 * states[0, 0, 2]  # far towards token 2
    found = reader.read({"queries": queries}, states, torch.ones(1, 4))[0]
    torch.testing.assert_close(found[:3], states[0, 0, 2, :3])
    torch.testing.assert_close(found[3:], states[0, 0, :, 3:].mean(0))
