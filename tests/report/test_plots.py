"""Pictures are whole whatever the names, the numbers and the fonts that are installed."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tsugiki import i18n
from tsugiki.report import plots

PNG = b"\x89PNG"


def size(path):
    content = path.read_bytes()
    assert content[:4] == PNG
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


@pytest.mark.parametrize("language", i18n.languages())
def test_every_picture_is_drawn_in_every_language_without_a_missing_glyph(language, rows, tmp_path):
    i18n.use_language(language)  # a missing glyph would be a warning, and warnings are errors
    try:
        plots.score_by_time(rows, tmp_path / "t.png")
        plots.score_by_parameters(rows, tmp_path / "p.png")
        plots.coverage_by_method(rows, tmp_path / "c.png")
    finally:
        i18n.use_language(None)
    for name in "tpc":
        assert min(size(tmp_path / f"{name}.png")) > 500


def test_runs_that_know_nothing_of_confidence_have_no_line(rows, tmp_path):
    plots.coverage_by_method([{**row, "coverage": [], "target_precision": None} for row in rows], tmp_path / "c.png")
    assert size(tmp_path / "c.png")


@pytest.mark.parametrize("language", i18n.languages())
@pytest.mark.parametrize(
    "automatic", [None, SimpleNamespace(wanted=0.9, share=0.6), SimpleNamespace(wanted=0.9, share=0.0)]
)
def test_coverage_is_drawn_with_and_without_a_threshold(language, automatic, tmp_path):
    evaluation: Any = SimpleNamespace(coverage=((0.2, 1.0), (1.0, 0.8)), automatic=automatic)
    i18n.use_language(language)
    try:
        plots.coverage_picture(evaluation, tmp_path / "c.png")
    finally:
        i18n.use_language(None)
    assert min(size(tmp_path / "c.png")) > 500


def test_names_that_no_font_has_are_numbered(rows, tmp_path):
    named = [{**row, "method": "\U000f0000" if row["method"] == "full" else row["method"]} for row in rows]
    plots.score_by_time(named, tmp_path / "t.png")
    assert plots._label("\U000f0000", "#2") == "#2"


def test_a_comparison_without_a_target_and_with_one_point_is_drawn(rows, tmp_path):
    one = [{**rows[0], "target_score": None, "curve": [[10.0, 0.85]]}]
    plots.score_by_time(one, tmp_path / "t.png")
    assert size(tmp_path / "t.png")


@pytest.mark.parametrize("num", [2, 40])
def test_labels_of_any_length_fit_a_confusion_picture(num, tmp_path):
    labels = ("$x_1$", "油漏れ", *(f"a label of forty characters, number {i:4}" for i in range(num - 2)))[:num]
    counts = np.eye(num, dtype=int).tolist()
    counts[0] = [0] * num  # a class without rows
    evaluation: Any = SimpleNamespace(labels=labels, confusion=counts)
    plots.confusion_picture(evaluation, tmp_path / "c.png")
    width, height = size(tmp_path / "c.png")
    assert width > 300
    assert height > 300


def test_labels_in_the_margin_keep_their_order_and_their_distance():
    heights = plots._spread([0.5, 0.51, 0.52, 0.99, 1.0], 0.05)
    assert heights == sorted(heights)
    assert min(np.diff(heights)) >= 0.05 - 1e-9
    assert max(heights) <= 1.0
