"""Tensors in a file that comes from anywhere: nothing is unpickled, and of the header nothing is believed."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from tsugiki.errors import MissingError, PackageError

# The format allows 100 MB; an adapter with 100,000 tensors needs a tenth of this.
MAX_HEADER_BYTES = 25_000_000

_PICKLES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a safetensors file.

    Raises:
        MissingError: it is not there.
        PackageError: a pickle is there instead, the header is too long, or the file is cut or damaged.
    """
    if not path.is_file():
        pickles = sorted(p.name for p in path.parent.iterdir() if p.suffix in _PICKLES)
        if pickles:
            raise PackageError("package.pickle", path=path.parent / pickles[0], allowed=path.name)
        raise MissingError("package.no_tensors", path=path)
    with path.open("rb") as file:
        start = file.read(8)
        length, rest = int.from_bytes(start, "little"), path.stat().st_size - 8
        if length > min(MAX_HEADER_BYTES, rest):
            raise PackageError("package.header", path=path, found=length, allowed=max(0, min(MAX_HEADER_BYTES, rest)))
        content = start + file.read()
    try:
        tensors = dict(sorted(load(content).items()))
        # Strict about structure, so the header is JSON of little depth by now.
        header: dict[str, Any] = json.loads(content[8 : 8 + length])
    except (SafetensorError, ValueError, KeyError) as error:
        raise PackageError("package.damaged", path=path, reason=error) from None
    written = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    if content[8 : 8 + length].rstrip(b" ") != written:
        raise PackageError("package.damaged", path=path, reason="header")
    return header, tensors


def tensor_digest(tensor: Tensor) -> str:
    """sha256 over dtype, shape and bytes, as hexadecimal."""
    total = hashlib.sha256(f"{str(tensor.dtype).removeprefix('torch.')}{tuple(tensor.shape)}".encode())
    total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of one part of a package, named without it."""
    return {n.removeprefix(f"{name}."): tensor for n, tensor in tensors.items() if n.startswith(f"{name}.")}
