"""Labels that are one to a person and several to a program: they differ in width, blanks or case alone."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tsugiki.data.labels import join
from tsugiki.data.rows import Rows, Splits
from tsugiki.i18n import notify

_SHOWN = 5


def folded(label: str) -> str:
    """A label without what the eye does not see: width, case, blanks, invisible characters and styles of emoji."""
    plain = unicodedata.normalize("NFKC", label)
    seen = "".join(c for c in plain if unicodedata.category(c) != "Cf" and not "\ufe00" <= c <= "\ufe0f")
    return " ".join(seen.casefold().split()) or label


def usual_spellings(labels: Iterable[str], known: Sequence[str] = ()) -> dict[str, str]:
    """For each label that is also spelled in another way, the usual spelling.

    Args:
        labels: of all rows; the most frequent spelling is the usual one, the first in order among equals.
        known: spellings that are usual whatever the rows say, such as those of an adapter.
    """
    counts = Counter(labels)
    alike = defaultdict(list)
    for label in sorted(counts):
        alike[folded(label)].append(label)
    usual = {key: max(spellings, key=lambda label: counts[label]) for key, spellings in alike.items()}
    usual |= {folded(label): label for label in known}
    return {label: usual[folded(label)] for label in counts if label not in known and label != usual[folded(label)]}


def spellings_of(splits: Splits, known: Sequence[str] = ()) -> dict[str, str]:
    """The same for the labels of all splits."""
    parts = (splits.train, splits.validation, splits.test)
    labels = (label for rows in parts if rows is not None for label in rows.each_label)
    return usual_spellings(labels, known)


def merged(splits: Splits, known: Sequence[str] = ()) -> Splits:
    """Rows with the usual spelling of every label, or that of the known ones; what was changed is said."""
    usual = spellings_of(splits, known)
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    return Splits(**{name: rows and respelled(rows, usual) for name, rows in parts.items()})


def respelled(rows: Rows, usual: Mapping[str, str]) -> Rows:
    """Rows with some labels spelled in another way; what was changed is said."""
    changed = [label for label in rows.each_label if label in usual]
    if not changed:
        return rows
    notify("data.merged_labels", rows=len(changed), labels=shown({label: usual[label] for label in changed}))
    spelled = [[usual.get(label, label) for label in labels] for labels in rows.labels_by_row]
    return replace(rows, labels=tuple(join(labels) if rows.several else labels[0] for labels in spelled))


def shown(usual: Mapping[str, str]) -> str:
    """Spellings for a message, quoted since blanks count."""
    pairs = [f"{other[:30]!r} = {one[:30]!r}" for other, one in sorted(usual.items())]
    return ", ".join(pairs[:_SHOWN]) + (", …" if len(pairs) > _SHOWN else "")
