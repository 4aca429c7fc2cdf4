"""Tasks other than one label per row, from rows to answers that were saved and loaded."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.support.bases import tiny_base_folder
from tests.support.runs import easy_rows, quick_config
from tsugiki.api import load
from tsugiki.data.labels import join, split
from tsugiki.data.rows import Rows, Splits
from tsugiki.data.texts import pair
from tsugiki.evaluate.compare import compare
from tsugiki.evaluate.run import evaluate
from tsugiki.train.run import train_adapter


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base_folder(tmp_path_factory.mktemp("base"))


# Any: tests need not rule out that there are no labels.
def tagged(n: int) -> Any:
    """Two easy rows side by side have the labels of both; each third row has none."""
    first, second = easy_rows(n, 1), easy_rows(n, 2)
    texts, labels = [], []
    for i in range(n):
        if i % 3 == 0:
            texts.append(f"a b c d {i}")
            labels.append("")
        else:
            texts.append(f"{first.texts[i]} {second.texts[n - 1 - i]}")
            labels.append(join([first.labels[i], second.labels[n - 1 - i]]))
    return Rows(tuple(texts), tuple(labels), several=True)


def split_up(rows: Any) -> Any:
    """Half to learn from; one label of validation is wrong, or a perfect candidate would end the race."""
    n = len(rows)
    held = rows.take(range(n // 2, 3 * n // 4))
    wrong = replace(held, labels=(held.labels[1], *held.labels[1:]))
    assert wrong != held
    return Splits(rows.take(range(n // 2)), wrong, rows.take(range(3 * n // 4, n)))


def test_rows_of_several_labels_are_learnt_saved_and_answered(base, tmp_path):
    splits = split_up(tagged(120))
    trained = train_adapter(splits, quick_config(base, name="tags"))
    trained.adapter.save(tmp_path / "tags")
    adapter = load(tmp_path / "tags")
    assert adapter.manifest.task["kind"] == "tag" and len(adapter.manifest.task["thresholds"]) == 3
    assert adapter.reading.task == "tag"
    found = evaluate(adapter, splits.test, adapter.manifest.review)
    assert found.metric == "row_f1" and found.score > 0.8 and found.further["micro_f1"] > 0.8
    assert found.confusion == () and len(found.classes) == 3 and found.automatic is not None
    answers = adapter.predict(splits.test.texts)
    assert [a.label for a in answers] == [b.label for b in trained.adapter.predict(splits.test.texts)]
    assert any(a.label == "" for a in answers) and any(len(split(a.label)) == 2 for a in answers)


def test_every_candidate_of_a_race_learns_several_labels(base):
    trained = train_adapter(split_up(tagged(120)), quick_config(base, placement__strategy="race", train__epochs=3))
    scores = {c.variant: c.score for c in trained.candidates}
    assert {"words", "head", "readout"} <= set(scores) and any(name.startswith("suffix") for name in scores)
    # Without reading, no labels at all is the best answer, right for a third of the rows.
    assert all(score > 0.34 for score in scores.values())


def test_grades_are_learnt_in_their_order(base, tmp_path):
    rows = easy_rows(90)
    grade = {"jam": "1", "loud": "2", "wet": "10"}
    graded = Rows(rows.texts, tuple(grade[label] for label in rows.labels))
    trained = train_adapter(split_up(graded), quick_config(base, data__task="grade"))
    assert trained.adapter.labels == ("1", "2", "10")
    found = evaluate(trained.adapter, split_up(graded).test)
    assert found.metric == "closeness" and found.score > 0.9 and found.further["mean_error_grades"] < 0.3


def test_pairs_are_answered_as_tuples(base, tmp_path, caplog):
    rows = easy_rows(60)
    pairs = Rows(tuple(pair(text, f"a b {i % 7}") for i, text in enumerate(rows.texts)), rows.labels)
    trained = train_adapter(split_up(pairs), quick_config(base))
    caplog.clear()
    (answer,) = trained.adapter.predict([("oil leak pump", "a b 3")])
    assert answer.label == "wet" and not caplog.records
    trained.adapter.predict("oil leak pump")
    assert "1 text(s) are single" in caplog.text


@pytest.mark.parametrize("method", ["full", "probe-last", "tfidf", "tsugiki"])
def test_every_kind_of_method_is_compared_on_several_labels(base, tmp_path, method):
    config = quick_config(base, train__epochs=2)
    found = compare(split_up(tagged(60)), dataset="tags", methods=[method], out=tmp_path, seeds=1, config=config)
    (row,) = [row for row in found.rows if row["won"]]
    assert row["metric"] == "row_f1" and 0 <= row["score"] <= 1
    lines = (tmp_path / "runs").glob("*/predictions.jsonl")
    answers = [json.loads(line) for line in next(lines).read_text(encoding="utf-8").splitlines()]
    assert len(answers) == 15 and np.isclose(found.correct[method].mean(), row["score"])
    assert row["coverage"][-1][0] == 1.0 and 0 <= row["calibration_error"] <= 1
