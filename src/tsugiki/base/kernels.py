"""What the kernels of a processor keep in memory."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Elsewhere oneDNN does the matrix products of float32 as well, and is worth its memory.
_PLAIN = ("x86_64", "amd64")


@contextmanager
def lean_kernels(dtype: torch.dtype) -> Iterator[None]:
    """Within the block, float32 does without oneDNN where that only does small things.

    oneDNN keeps a compiled kernel for each shape that it has met, up to 1,024 of them, and texts come in many shapes:
    some 200 MB in a run on the built-in base. On x86 it has no part in float32's products, which are nearly all
    of the work, so a run takes as long without it. bfloat16 rests on it and is left alone. The setting is that of the
    process.

    Args:
        dtype: of the matrix products.
    """
    if dtype != torch.float32 or platform.machine().lower() not in _PLAIN:
        yield
        return
    before, *_ = torch.backends.mkldnn.set_flags(_enabled=False, _fp32_precision=None)
    try:
        yield
    finally:
        torch.backends.mkldnn.set_flags(_enabled=before, _fp32_precision=None)
