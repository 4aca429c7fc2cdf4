"""Adapters on one tiny base that were trained apart, to be put together."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.bases import tiny_base_folder
from tests.support.runs import easy_splits, quick_config
from tsugiki.data.rows import Rows, Splits

LETTERS = {"early": "abcd", "late": "stuvw"}


def letter_rows(n: int, seed: int = 0) -> Rows:
    """Texts of single letters, far from those of `easy_rows`; the label hangs on which they are."""
    chance = random.Random(seed)
    rows: dict[str, str] = {}
    while len(rows) < n:
        label = list(LETTERS)[len(rows) % 2]
        rows.setdefault(" ".join(chance.choices(LETTERS[label], k=chance.randint(3, 9))), label)
    return Rows(tuple(rows), tuple(rows.values()))


def train_members(root: Path) -> Path:
    """Packages on one base: `head`, `words`, `readout`, `suffix` and `low` on easy rows, `letters` on others.

    `stranger` is of another base.
    """
    from tsugiki.train.run import train_adapter

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSUGIKI_HOME", str(root / "home"))
        base = tiny_base_folder(root / "base")
        easy = easy_splits(train=90, validation=60)
        trained = train_adapter(easy, quick_config(base))
        for candidate in trained.candidates:
            if "+" not in candidate.variant:
                _saved(trained, candidate, root / candidate.variant.partition(" ")[0])
        low = train_adapter(easy, quick_config(base, placement__strategy="top", placement__boundary=1))
        _saved(low, next(c for c in low.candidates if c.placement.modules), root / "low")
        rows = letter_rows(170)
        splits = Splits(rows.take(range(90)), rows.take(range(90, 150)), rows.take(range(150, 170)))
        letters = train_adapter(splits, quick_config(base, train__words=False))
        _saved(letters, letters.candidates[-1], root / "letters")
        other = tiny_base_folder(root / "other base", seed=1)
        train_adapter(easy, quick_config(other, train__epochs=1)).adapter.save(root / "stranger")
    return root


def _saved(trained: Any, candidate: Any, folder: Path) -> None:
    """Save a candidate whose modules do something, whatever became of them in so short a run."""
    generator = torch.Generator().manual_seed(len(folder.name))
    tensors = {
        name: tensor + 0.5 * torch.randn(tensor.shape, generator=generator) if name.startswith("modules.") else tensor
        for name, tensor in candidate.tensors.items()
    }
    adapter = trained.adapter_of(replace(candidate, tensors=tensors))
    adapter.save(folder)
    adapter.close()
