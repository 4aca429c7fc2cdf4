"""Tiny decoders that write, rows to learn from, and runs of a second."""

from pathlib import Path
from typing import Any

from tests.support.bases import tokenizer
from tests.support.models import tiny
from tsugiki.data.rows import Rows, Splits
from tsugiki.train.config import Config, read_config

SETTINGS: dict[str, Any] = {
    "precision": "fp32",
    "data.task": "generate",
    "data.illegible": "warn",
    "placement.form": {"kind": "low_rank", "rank": 4},
    "train.epochs": 12,
    "train.patience": 12,
    "train.learning_rate": 0.03,
    "train.module_dropout": 0.0,
}
# Any: tests need not rule out that there are no targets.
_PAIRS = {"oil": "leak at the pump", "belt": "stuck valve", "motor": "loud noise", "hot": "motor at the belt"}


def tiny_writer_folder(path: Path, family: str = "llama", *, seed: int = 0) -> Path:
    """A random decoder with its vocabulary head and the tokenizer of a few dozen words, saved to `path`."""
    tiny(family, head=True, seed=seed).save_pretrained(path)  # type: ignore[operator]
    tokenizer().save_pretrained(path)
    return path


def written_rows(n: int) -> Any:
    """Distinct sources with the target that the first word of each calls for."""
    words = list(_PAIRS)
    sources = [f"{words[i % 4]} {' '.join('abcd'[int(d)] for d in f'{i:03}' if d in '0123')}".strip() for i in range(n)]
    sources = [f"{source} {'abcdefgh'[i // 4 % 8]} {'abcdefgh'[i // 32 % 8]}" for i, source in enumerate(sources)]
    return Rows(tuple(sources), tuple(_PAIRS[words[i % 4]] for i in range(n)))


def written_splits(train: int = 24, held: int = 8) -> Any:
    """Rows for a whole run."""
    rows = written_rows(train + held + 8)
    parts = (range(train), range(train, train + held), range(train + held, train + held + 8))
    return Splits(*map(rows.take, parts))


def writer_config(base: Path | str, **settings: Any) -> Config:
    """A run of a second; `writing__max_new=4` stands for `writing.max_new`."""
    own = {key.replace("__", "."): value for key, value in settings.items()}
    return read_config(None, {"base": str(base), **SETTINGS, **own})
