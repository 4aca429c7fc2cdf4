"""Splitting rows: by class, repeatably, and never one text on two sides.

Rows with the same text form a group, and a group stays together: a text that is trained on says nothing when it is
asked for again. Every function depends on its arguments and the seed alone.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np

from tsugiki import i18n
from tsugiki.data.rows import Splits

_MAX_VALIDATION = 1_000  # rows; the standard error of an accuracy is then below 1.6 points, more only costs time


def stratified_split(
    labels: Sequence[str], share: float, seed: int, groups: Sequence[Hashable] | None = None
) -> tuple[list[int], list[int]]:
    """Hold out a share of each class; every class keeps a row on the train side.

    Classes are held in proportion to their rows beyond the first, so one of a single row stays in train. Groups that do
    not fit make the share come out a little different, or nothing is held at all.

    Args:
        labels: one per row (N).
        share: of the rows to hold out (0..1).
        seed: not negative.
        groups: one key per row, usually its text; None where every row stands alone.

    Returns:
        Row numbers to train on and held out, each ascending, together 0..N-1.
    """
    rng = np.random.default_rng(seed)
    left = Counter(labels)
    keep = _apportion(left, max(len(left), round((1 - share) * len(labels))), rng)
    wanted = {label: count - keep[label] for label, count in left.items()}
    held: list[int] = []
    for rows in _shuffled_groups(range(len(labels)) if groups is None else groups, rng):
        inside = Counter(labels[i] for i in rows)
        # A group is held where that brings each of its classes nearer to the share it is meant to have.
        nearer = all(count <= 2 * wanted[label] for label, count in inside.items())
        if nearer and all(count < left[label] for label, count in inside.items()):
            held += rows
            left -= inside
            for label, count in inside.items():
                wanted[label] -= count
    out = set(held)
    return [i for i in range(len(labels)) if i not in out], sorted(held)


def with_validation(splits: Splits, *, share: float = 0.15, seed: int) -> Splits:
    """Split validation off train where the source has none.

    It gets `share` of train, but no fewer than two rows per class, no more than 1,000 rows and no more than a third of
    train. Train too small or too repetitive to spare a row leaves validation None, with a warning.

    Args:
        splits: with labels in train.
        share: of train to hold out (0..1).
        seed: not negative.
    """
    train = splits.train
    if splits.validation is not None or train is None or train.labels is None:
        return splits
    strata = train.strata
    least = 2 * len(set(strata))
    wanted = min(max(round(share * len(train)), least), _MAX_VALIDATION, len(train) // 3)
    kept, held = stratified_split(strata, wanted / max(len(train), 1), seed, groups=train.texts)
    if not held:
        i18n.warn("data.no_validation", rows=len(train))
        return splits
    return replace(splits, train=train.take(kept), validation=train.take(held))


def folds(
    labels: Sequence[str], k: int, seed: int, groups: Sequence[Hashable] | None = None
) -> list[tuple[list[int], list[int]]]:
    """K pairs of rows to train on and held out, such that every row is held once.

    A class of a single row is absent from train in the fold that holds it. With fewer groups than k, some folds hold
    nothing.

    Args:
        labels: one per row (N).
        k: number of folds, at least 2.
        seed: not negative.
        groups: one key per row, usually its text; None where every row stands alone.

    Returns:
        k pairs; in each both lists ascend and are together 0..N-1.
    """
    rng = np.random.default_rng(seed)
    of_class = {label: [0] * k for label in set(labels)}
    fold_of = np.zeros(len(labels), dtype=np.int64)
    sizes = [0] * k
    for rows in _shuffled_groups(range(len(labels)) if groups is None else groups, rng):
        filled = of_class[labels[rows[0]]]
        fold = min(range(k), key=lambda f: (filled[f], sizes[f]))
        fold_of[rows] = fold
        sizes[fold] += len(rows)
        for i in rows:
            of_class[labels[i]][fold] += 1
    return [(np.flatnonzero(fold_of != f).tolist(), np.flatnonzero(fold_of == f).tolist()) for f in range(k)]


def subsample(labels: Sequence[str], n: int, seed: int) -> list[int]:
    """At most `n` row numbers, ascending, in the proportions of the classes.

    Every class keeps a row where `n` is at least the number of classes; below that, the smallest classes go.

    Args:
        labels: one per row (N).
        n: rows to keep.
        seed: not negative.
    """
    rng = np.random.default_rng(seed)
    keep = _apportion(Counter(labels), min(n, len(labels)), rng)
    kept: list[int] = []
    for i in rng.permutation(len(labels)).tolist():
        if keep[labels[i]] > 0:
            keep[labels[i]] -= 1
            kept.append(i)
    return sorted(kept)


def _apportion(counts: Counter[str], total: int, rng: np.random.Generator) -> Counter[str]:
    """Rows per class that add to `total`: one each where that is enough, the rest in proportion.

    Largest remainders, ties by chance, in whole numbers so that no rounding creeps in.
    """
    floor = 1 if total >= len(counts) else 0
    spare = {label: count - floor for label, count in counts.items()}
    rest, of = total - floor * len(counts), max(sum(spare.values()), 1)
    keep = Counter({label: floor + rest * count // of for label, count in spare.items()})
    chance = dict(zip(spare, rng.permutation(len(spare)).tolist(), strict=True))
    by_remainder = sorted(spare, key=lambda label: (-(rest * spare[label] % of), chance[label]))
    keep.update(by_remainder[: total - keep.total()])
    return keep


def _shuffled_groups(keys: Sequence[Hashable], rng: np.random.Generator) -> list[list[int]]:
    rows_of: dict[Hashable, list[int]] = {}
    for i, key in enumerate(keys):
        rows_of.setdefault(key, []).append(i)
    found = list(rows_of.values())
    return [found[i] for i in rng.permutation(len(found)).tolist()]
