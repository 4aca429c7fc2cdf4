"""The rows that come along: what their data card promises."""

import json
from collections import Counter
from importlib.resources import files
from typing import Any

import pytest

from tsugiki.data.rows import read_splits

FOLDER = files("tsugiki") / "demo"


def records(language):
    paths = (FOLDER / f"tickets_{language}" / f"{split}.jsonl" for split in ("train", "validation", "test"))
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_tickets_are_some_600_in_12_classes_and_none_is_there_twice(language):
    splits = read_splits(str(FOLDER / f"tickets_{language}"))
    parts: list[Any] = [splits.train, splits.validation, splits.test]
    texts = [text for rows in parts for text in rows.texts]
    assert [len(rows) for rows in parts] == [420, 80, 120] and len(set(texts)) == 620
    assert all(len(set(rows.labels)) == 12 for rows in parts)
    assert min(map(len, texts)) <= 10 and max(map(len, texts)) >= 160


def test_both_languages_tell_of_the_same_faults():
    english, japanese = ({r["id"]: r["label"] for r in records(language)} for language in ("en", "ja"))
    assert english == japanese and len(english) == 620


def test_the_rarest_class_has_half_as_many_rows_as_the_most_frequent_at_most():
    counts = Counter(record["label"] for record in records("en"))
    assert 30 <= min(counts.values()) <= max(counts.values()) / 2
