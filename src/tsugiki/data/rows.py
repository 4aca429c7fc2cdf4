"""Rows: texts with labels, from wherever the user keeps them. Messages name lines, never the texts in them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tsugiki import i18n, spec
from tsugiki.data.columns import labels_if_any, labels_of, texts_of
from tsugiki.data.reading import Reading
from tsugiki.data.sources import parts_of, table_of
from tsugiki.data.table import Table, shown
from tsugiki.errors import MissingError, RowsError


@dataclass(frozen=True)
class Rows:
    """One split.

    Args:
        texts: one text per row.
        labels: one label per row; None where the source has none.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Iterable[int]) -> "Rows":
        """The rows at `indices` (0-based), in that order."""
        chosen = list(indices)
        labels = None if self.labels is None else tuple(self.labels[i] for i in chosen)
        return Rows(tuple(self.texts[i] for i in chosen), labels)

    def digest(self) -> str:
        """sha256 over texts and labels in their order, as hexadecimal."""
        return spec.digest({"labels": self.labels, "texts": self.texts})


@dataclass(frozen=True)
class Splits:
    """The rows to learn from, to choose by and to report on; None where the source has none."""

    train: Rows | None = None
    validation: Rows | None = None
    test: Rows | None = None


def read_splits(source: Any, reading: Reading | None = None) -> Splits:
    """Read labelled rows; a source of one table is all train.

    Rows without a text are left out, with a warning that says how many.

    Args:
        source: see `data.sources`.
        reading: columns, sheet and encoding; None finds all by itself.

    Raises:
        MissingError: the file or the hub's data set is not there, or a folder has no file named after a split.
        RowsError: rows cannot be read; no or several columns fit; a label is missing; nothing is left.
    """
    chosen = reading or Reading()
    found = parts_of(source).items()
    return Splits(**{split or "train": labelled(table_of(part, chosen), chosen)[0] for split, part in found})


def read_rows(source: Any, split: str | None = None, reading: Reading | None = None) -> Rows:
    """Read rows to be answered; every row keeps its place, also one without a text.

    Labels come along where one column fits and no row lacks one; else `labels` is None.

    Args:
        source: see `data.sources`.
        split: `train`, `validation` or `test`; None for the only one. A source of one table ignores it.
        reading: columns, sheet and encoding; None finds all by itself.

    Raises:
        MissingError: the file, the hub's data set or the split is not there.
        RowsError: rows cannot be read; no or several columns fit as the text; a column that was named is not there.
    """
    return unlabelled(read_table(source, split, reading), reading or Reading())


def read_table(source: Any, split: str | None = None, reading: Reading | None = None) -> Table:
    """The same as a table, with all its columns."""
    parts = parts_of(source)
    chosen = reading or Reading()
    if split is None or None in parts:
        if len(parts) > 1:
            raise RowsError("rows.choose_split", allowed=", ".join(map(str, parts)))
        return table_of(next(iter(parts.values())), chosen)
    if split not in parts:
        raise MissingError("rows.no_split", found=split, allowed=", ".join(map(str, parts)))
    return table_of(parts[split], chosen)


def unlabelled(table: Table, reading: Reading) -> Rows:
    """The rows of a table that is to be answered."""
    if not table.lines:
        return Rows(())
    labels = labels_if_any(table, reading.label)
    stripped = None if labels is None else tuple(label.strip() for label in labels)
    return Rows(tuple(texts_of(table, reading.text)), stripped if stripped and all(stripped) else None)


def labelled(table: Table, reading: Reading) -> tuple[Rows, list[int]]:
    """The rows of a table that is to be learnt from, and where in it each of them stands (0-based)."""
    if not table.lines:
        raise RowsError("rows.empty", path=table.name)
    texts = texts_of(table, reading.text)
    labels = labels_of(table, reading.label)
    kept = [i for i, value in enumerate(texts) if value.strip()]
    if not kept:
        raise RowsError("rows.empty", path=table.name)
    if len(kept) < len(texts):
        blank = [line for line, value in zip(table.lines, texts, strict=True) if not value.strip()]
        i18n.warn("rows.dropped_blank", path=table.name, count=len(blank), lines=shown(blank))
    missing = [table.lines[i] for i in kept if not labels[i].strip()]
    if missing:
        raise RowsError("rows.missing_labels", path=table.name, count=len(missing), lines=shown(missing))
    return Rows(tuple(texts[i] for i in kept), tuple(labels[i].strip() for i in kept)), kept
