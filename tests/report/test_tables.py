"""Means over seeds, and what a terminal shows of them."""

import pytest

from tsugiki import i18n
from tsugiki.report.tables import candidates, comparison_tables, interval, number, plain, signed, summaries


def test_methods_are_summed_up_over_seeds_without_the_losers_of_their_race(rows):
    ours, full, probe = summaries(rows)
    assert (ours.method, full.method, probe.method) == ("tsugiki", "full", "probe-all")
    assert ours["score"] == pytest.approx(0.80)
    assert ours.score_sd == pytest.approx(0.0707, abs=1e-4)
    assert ours.variants == ("suffix 2/4", "readout")
    assert [c.variants for c in candidates(rows)] == [("head",)]


def test_the_time_to_the_target_counts_only_where_every_seed_reached_it(rows):
    ours, full, probe = summaries(rows)
    assert (ours.num_reached, ours.time_to_target_s) == (1, None)
    assert (full.num_reached, full.time_to_target_s) == (2, 105.0)
    assert (probe.num_reached, probe.time_to_target_s) == (0, None)


def test_a_method_that_never_reaches_the_target_says_so(rows, differences):
    shown = plain(comparison_tables(rows, differences))
    assert "never" in shown
    assert "in 1 of 2" in shown


@pytest.mark.parametrize("language", i18n.languages())
def test_tables_fit_a_page_in_every_language(language, rows, differences):
    i18n.use_language(language)
    try:
        shown = plain(comparison_tables(rows, differences))
    finally:
        i18n.use_language(None)
    assert "…" not in shown.replace(" … ", "")
    assert "suffix 2/4" in shown


def test_without_a_target_there_is_no_time_to_it(rows):
    (ours, *_) = summaries([{**row, "target_score": None} for row in rows])
    assert ours.num_reached is None


def test_numbers_keep_three_digits_that_count():
    assert [number(v) for v in (0, 0.01234, 4.567, 22_713_216)] == ["0", "0.0123", "4.57", "22,713,216"]
    assert [signed(v) for v in (0.44, -0.04, -1.0)] == ["+0.4", "0.0", "-1.0"]
    assert interval({"low_points": -0.8, "high_points": 1.6}) == "-0.8 … +1.6"
