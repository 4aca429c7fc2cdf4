"""Rows: texts with labels, from wherever the user keeps them. Messages name lines, never the texts in them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tsugiki import i18n, spec
from tsugiki.data.columns import domains_of, labels_if_any, labels_of, texts_of
from tsugiki.data.labels import holds_several, join, split
from tsugiki.data.reading import Reading
from tsugiki.data.sources import parts_of, table_of
from tsugiki.data.table import Table, shown
from tsugiki.errors import MissingError, RowsError

# The task whose rows have several labels.
_SEVERAL = "tag"


@dataclass(frozen=True)
class Rows:
    """One split.

    Args:
        texts: one text per row.
        labels: one label per row; None where the source has none.
        several: whether a label is any number of them, joined as `data.labels` does.
        domains: one per row, empty where it is not known; None where nobody asked for them.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None = None
    several: bool = False
    domains: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Iterable[int]) -> "Rows":
        """The rows at `indices` (0-based), in that order."""
        chosen = list(indices)
        labels = None if self.labels is None else tuple(self.labels[i] for i in chosen)
        domains = None if self.domains is None else tuple(self.domains[i] for i in chosen)
        return Rows(tuple(self.texts[i] for i in chosen), labels, self.several, domains)

    @property
    def classes(self) -> tuple[str, ...]:
        """Every label that a row has, in alphabetical order."""
        return tuple(sorted(set(self.each_label)))

    @property
    def labels_by_row(self) -> list[tuple[str, ...]]:
        """The labels of each row: one, or any number where rows have several."""
        return [split(label) if self.several else (label,) for label in self.labels or ()]

    @property
    def each_label(self) -> list[str]:
        """The labels of all rows one after the other."""
        return [label for labels in self.labels_by_row for label in labels]

    @property
    def strata(self) -> tuple[str, ...]:
        """What rows are drawn by: their label, or the rarest one of several, empty where there is none."""
        counts = Counter(self.each_label)
        return tuple(min(labels, key=lambda label: (counts[label], label), default="") for labels in self.labels_by_row)

    def digest(self) -> str:
        """sha256 over texts, labels and domains in their order, as hexadecimal."""
        domains = {} if self.domains is None else {"domains": self.domains}
        return spec.digest({"labels": self.labels, "texts": self.texts, **domains})


@dataclass(frozen=True)
class Splits:
    """The rows to learn from, to choose by and to report on; None where the source has none."""

    train: Rows | None = None
    validation: Rows | None = None
    test: Rows | None = None


def read_splits(source: Any, reading: Reading | None = None) -> Splits:
    """Read labelled rows; a source of one table is all train.

    Rows without a text are left out, with a warning that says how many. Where nobody says what labels are, a list or a
    `;` in any of them means that rows have several, and that is said.

    Args:
        source: see `data.sources`.
        reading: columns, sheet and encoding; None finds all by itself.

    Raises:
        MissingError: the file or the hub's data set is not there, or a folder has no file named after a split.
        RowsError: rows cannot be read; no or several columns fit; a label is missing; nothing is left.
    """
    chosen = reading or Reading()
    tables = {split or "train": table_of(part, chosen) for split, part in parts_of(source).items()}
    return Splits(**{split: rows for split, (rows, _) in labelled(tables, chosen).items()})


def read_table(source: Any, split: str | None = None, reading: Reading | None = None) -> Table:
    """Read one split as it is, with all its columns.

    Args:
        source: see `data.sources`.
        split: `train`, `validation` or `test`; None for the only one. A source of one table ignores it.
        reading: sheet and encoding; None finds all by itself.

    Raises:
        MissingError: the file, the hub's data set or the split is not there.
        RowsError: rows cannot be read, or there are several splits and none was chosen.
    """
    parts = parts_of(source)
    chosen = reading or Reading()
    if split is None or None in parts:
        if len(parts) > 1:
            raise RowsError("rows.choose_split", allowed=", ".join(map(str, parts)))
        return table_of(next(iter(parts.values())), chosen)
    if split not in parts:
        raise MissingError("rows.no_split", found=split, allowed=", ".join(map(str, parts)))
    return table_of(parts[split], chosen)


def unlabelled(table: Table, reading: Reading, blanks: bool = False) -> Rows:
    """The rows of a table that is to be answered; every row keeps its place, also one without a text.

    Labels come along where one column fits and no row lacks one, unless some may (`blanks`); else `labels` is None.

    Raises:
        RowsError: no or several columns fit as the text; a column that was named is not there.
    """
    if not table.lines:
        return Rows(())
    texts = tuple(texts_of(table, reading))
    domains = None if reading.domains is None else tuple(domains_of(table, reading.domains))
    found = labels_if_any(table, reading.label)
    if found is None:
        return Rows(texts, domains=domains)
    labels, lists = found
    if reading.task == _SEVERAL or (reading.task is None and lists):
        return Rows(texts, tuple(join(split(label)) for label in labels), several=True, domains=domains)
    stripped = tuple(label.strip() for label in labels)
    whole = all(stripped) or (blanks and any(stripped))
    return Rows(texts, stripped if whole and not lists else None, domains=domains)


def labelled(tables: Mapping[str, Table], reading: Reading) -> dict[str, tuple[Rows, list[int]]]:
    """The rows of tables that are to be learnt from, by split, and where in its table each of them stands (0-based)."""
    found = {split: _found(table, reading) for split, table in tables.items()}
    several = reading.task == _SEVERAL
    if reading.task is None and not reading.grades and any(part.reads_like_several for part in found.values()):
        several = True
        i18n.notify("rows.several")
    return {split: (part.rows(several), part.at) for split, part in found.items()}


@dataclass(frozen=True)
class _Found:
    """Rows of a table whose labels are not yet known to be one or several.

    Args:
        table: that they are from.
        at: where each stands in it (0-based).
        texts: of each row, none is blank.
        labels: of each row, blank for a missing one.
        lists: whether the table has lists of labels.
        domains: of each row; None where nobody asked for them.
    """

    table: Table
    at: list[int]
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    lists: bool
    domains: tuple[str, ...] | None = None

    @property
    def reads_like_several(self) -> bool:
        """Whether any label is a list or reads like one."""
        return self.lists or any(map(holds_several, self.labels))

    def rows(self, several: bool) -> Rows:
        """Rows that all have a label, unless they may have none."""
        name = self.table.name
        blank = [self.table.lines[at] for at, label in zip(self.at, self.labels, strict=True) if not label]
        if several:
            if blank:
                i18n.notify("rows.no_tags", path=name, count=len(blank), lines=shown(blank))
            return Rows(self.texts, tuple(join(split(label)) for label in self.labels), True, self.domains)
        if self.lists:
            raise RowsError("rows.lists", path=name)
        if blank:
            raise RowsError("rows.missing_labels", path=name, count=len(blank), lines=shown(blank))
        return Rows(self.texts, self.labels, domains=self.domains)


def _found(table: Table, reading: Reading) -> _Found:
    if not table.lines:
        raise RowsError("rows.empty", path=table.name)
    texts = texts_of(table, reading)
    labels, lists = labels_of(table, reading.label)
    kept = [i for i, value in enumerate(texts) if value.strip()]
    if not kept:
        raise RowsError("rows.empty", path=table.name)
    if len(kept) < len(texts):
        blank = [line for line, value in zip(table.lines, texts, strict=True) if not value.strip()]
        i18n.warn("rows.dropped_blank", path=table.name, count=len(blank), lines=shown(blank))
    _tell_blanks(table.name, [labels[i] for i in kept])
    cells = None if reading.domains is None else domains_of(table, reading.domains)
    domains = None if cells is None else tuple(cells[i] for i in kept)
    return _Found(table, kept, tuple(texts[i] for i in kept), tuple(labels[i].strip() for i in kept), lists, domains)


def _tell_blanks(name: str, labels: Sequence[str]) -> None:
    """Say which labels become one because blanks around a label never count."""
    there = set(labels)
    joined = Counter(label for label in labels if label != label.strip() and label.strip() in there)
    if joined:
        spelled = ", ".join(repr(label[:30]) for label in sorted(joined)[:5])
        i18n.warn("rows.blanks_joined", path=name, count=joined.total(), labels=spelled)
