"""Labels of emoji are labels like others, from the rows to the pictures."""

import csv
import json
import os
import subprocess
import sys

import pytest

from tests.support.bases import tiny_base_folder
from tests.support.runs import easy_splits, quick_options

LABELS = {"jam": "🔥", "loud": "👩‍🔧 騒音", "wet": "⚠️"}


@pytest.fixture
def rows(tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    splits = easy_splits()
    for name in ("train", "validation", "test"):
        part = getattr(splits, name)
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            pairs = zip(part.texts, (LABELS[label] for label in part.labels), strict=True)
            csv.writer(file).writerows([("text", "label"), *pairs])
    return folder


def test_emoji_are_labels_everywhere(tsugiki, rows, tmp_path):
    base = tiny_base_folder(tmp_path / "base")
    assert tsugiki("train", rows, "--out", "made", "--base", base, *quick_options()).code == 0
    assert set(json.loads((tmp_path / "made" / "adapter.json").read_text("utf-8"))["task"]["labels"]) == {
        *LABELS.values()
    }
    assert all(label in (tmp_path / "made" / "README.md").read_text("utf-8") for label in LABELS.values())

    answers = tsugiki("predict", "made", rows / "test.csv", "--json").lines
    assert {answer["label"] for answer in answers} <= {*LABELS.values()}
    written = tsugiki("predict", "made", rows / "test.csv", "--out", "answers.xlsx")
    assert written.code == 0

    told = tsugiki("evaluate", "made", rows, "--json", "--picture", "c.png", "--coverage", "v.png").json
    assert {entry["label"] for entry in told["classes"]} == {*LABELS.values()}
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    for line in (["evaluate", "made", rows], ["inspect", "made"], ["data", "check", rows]):
        shown = tsugiki(*line)
        assert shown.code == 0 and "🔥" in shown.out


def test_a_console_without_emoji_gets_their_numbers(rows):
    line = [sys.executable, "-m", "tsugiki", "data", "check", str(rows)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    shown = subprocess.run(line, capture_output=True, env=environment)
    assert shown.returncode == 0 and b"\\U0001f525" in shown.stdout and b"Traceback" not in shown.stderr
    told = subprocess.run([*line, "--json"], capture_output=True, env=environment, check=True)
    (counted,) = [f for f in json.loads(told.stdout)["findings"] if f["code"] == "data.classes"]
    assert {entry["label"] for entry in counted["entries"]} == {*LABELS.values()}
