import platform

import pytest
import torch

from tsugiki.base.kernels import lean_kernels


def enabled():
    return torch._C._get_mkldnn_enabled()


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert enabled()
    return lambda name: monkeypatch.setattr(platform, "machine", lambda: name)


def test_float32_does_without_them_within_the_block_alone(machine):
    with lean_kernels(torch.float32):
        assert not enabled()
        with lean_kernels(torch.float32):
            assert not enabled()
        assert not enabled()
    assert enabled()


def test_they_are_back_after_a_fault(machine):
    with pytest.raises(ZeroDivisionError), lean_kernels(torch.float32):
        raise ZeroDivisionError
    assert enabled()


@pytest.mark.parametrize(("dtype", "name"), [(torch.bfloat16, "x86_64"), (torch.float32, "aarch64")])
def test_they_stay_where_products_rest_on_them(machine, dtype, name):
    machine(name)
    with lean_kernels(dtype):
        assert enabled()


def test_answers_are_the_same_without_them(machine):
    x = torch.randn(7, 12, generator=torch.Generator().manual_seed(0))
    with lean_kernels(torch.float32):
        found = torch.nn.functional.gelu(x)
    assert torch.allclose(found, torch.nn.functional.gelu(x), atol=1e-6)
