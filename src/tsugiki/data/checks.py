"""Checks of rows before anything is learnt from them: what would make a run pointless or its score misleading."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tsugiki import i18n
from tsugiki.data.dates import are_dates
from tsugiki.data.rows import Rows, Splits
from tsugiki.data.spelling import shown, spellings_of
from tsugiki.errors import RowsError


@dataclass(frozen=True)
class Finding:
    """Something about rows that a person should know.

    Args:
        level: `error` where nothing can be learnt, `warning` where the user decides, `note` where there is no fault.
        code: key in the message catalogue.
        facts: what fills the placeholders of the text.
        columns: what the entries are made of.
        entries: one by one what the text sums up.
    """

    level: Literal["error", "warning", "note"]
    code: str
    facts: Mapping[str, object]
    columns: tuple[str, ...] = ()
    entries: tuple[tuple[Any, ...], ...] = ()

    def text(self) -> str:
        """The sentence, in the language in force."""
        return i18n.text(self.code, **self.facts)


def check(splits: Splits) -> list[Finding]:
    """All findings about labelled rows, errors first; where there are errors, they are the only ones.

    A label that train lacks counts as a wrong answer in every score. Texts are compared as they stand.
    """
    errors = list(_errors(splits))
    return errors or list(_warnings(splits))


def require_learnable(splits: Splits) -> None:
    """Refuse rows from which nothing can be learnt.

    Raises:
        RowsError: train is missing, a split is empty or has no labels, or train has one class only.
    """
    for finding in check(splits):
        if finding.level == "error":
            raise RowsError(finding.code, **finding.facts)


def _errors(splits: Splits) -> Iterator[Finding]:
    for name, rows in _named(splits):
        if not len(rows):
            yield Finding("error", "data.empty", {"split": name})
        elif rows.labels is None:
            yield Finding("error", "data.no_labels", {"split": name})
    if splits.train is None:
        yield Finding("error", "data.no_train", {})
    elif len(classes := set(splits.train.labels or ())) == 1:
        yield Finding("error", "data.one_class", {"label": _shown(classes)})


def _warnings(splits: Splits) -> Iterator[Finding]:
    train = splits.train or Rows(())
    labels_of = defaultdict(set)
    for text, label in zip(train.texts, train.labels or (), strict=True):
        labels_of[text].add(label)
    if torn := sum(len(labels) > 1 for labels in labels_of.values()):
        yield Finding("warning", "data.contradictions", {"count": torn})

    classes = Counter(train.each_label)
    if single := [label for label, count in classes.items() if count == 1]:
        yield Finding("warning", "data.single_row_classes", {"count": len(single), "labels": _shown(single)})

    if other := spellings_of(splits):
        yield Finding("warning", "data.alike_labels", {"count": len(other), "labels": shown(other)})
    if are_dates(classes):
        yield Finding("warning", "data.date_labels", {"count": len(classes), "labels": _shown(classes)})

    for name, rows in _named(splits):
        if name == "train":
            continue
        strangers = Counter(label for label in rows.each_label if label not in classes)
        if strangers:
            facts = {"split": name, "count": strangers.total(), "labels": _shown(strangers)}
            yield Finding("warning", "data.unknown_labels", facts)
        if shared := sum(text in labels_of for text in rows.texts):
            yield Finding("warning", "data.shared_texts", {"split": name, "count": shared, "rows": len(rows)})


def _named(splits: Splits) -> Iterator[tuple[str, Rows]]:
    found = (("train", splits.train), ("validation", splits.validation), ("test", splits.test))
    return ((name, rows) for name, rows in found if rows is not None)


def _shown(labels: Iterable[str]) -> str:
    """Labels short enough for a message."""
    names = sorted(label[:30] for label in labels)
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
