"""`tsugiki plan`, and the budget of `tsugiki train`."""

import json
from pathlib import Path

import pytest

from tests.support.bases import tiny_base_folder
from tests.support.runs import easy_splits, quick_options

PLACED = {"placement__form": {"kind": "low_rank", "rank": 4}, "placement__sites": ["linear"]}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base_folder(tmp_path_factory.mktemp("base"))


@pytest.fixture
def rows(tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    splits = easy_splits()
    for name in ("train", "validation"):
        part = getattr(splits, name)
        lines = (json.dumps({"text": t, "label": l}) for t, l in zip(part.texts, part.labels, strict=True))
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_plan_shows_what_was_chosen_and_writes_it(tsugiki, rows, base):
    found = tsugiki("plan", rows, "--base", base, "--out", "plan", "--max-params", "5%", *quick_options(**PLACED))
    assert found.code == 0, found.err
    written = json.loads(Path("plan/plan.json").read_text(encoding="utf-8"))
    assert f"{written['chosen']['variant']} *" in found.out and "tsugiki train --placement auto" in found.out
    assert written["budget"]["max_params"] == 0.05
    told = tsugiki("plan", rows, "--base", base, "--out", "again", "--json", *quick_options(**PLACED)).json
    assert told["out"] == "again" and {"chosen", "pareto", "evidence", "predicted", "controls"} <= set(told)


@pytest.mark.parametrize(
    ("option", "value"), [("--max-params", "0%"), ("--max-train-s", "0"), ("--max-package-bytes", "much")]
)
def test_a_limit_that_is_none_is_refused(tsugiki, rows, base, option, value, tmp_path):
    found = tsugiki("plan", rows, "--base", base, "--out", "plan", option, value)
    assert found.code == 2 and option.strip("-").replace("-", "_") in found.err
    assert not (tmp_path / "plan").exists()


def test_a_budget_without_room_writes_nothing(tsugiki, rows, base, tmp_path):
    line = ("--base", base, "--max-package-bytes", "1B", *quick_options(**PLACED))
    for found in (tsugiki("plan", rows, "--out", "plan", *line), tsugiki("train", rows, "--out", "made", *line)):
        assert found.code == 2 and "package_bytes" in found.err
    assert not (tmp_path / "plan").exists() and not (tmp_path / "made").exists()


def test_train_trains_what_plan_would_choose(tsugiki, rows, base):
    line = ("--base", base, "--placement", "auto", *quick_options(**PLACED))
    found = tsugiki("train", rows, "--out", "made", "--json", *line)
    assert found.code == 0, found.err
    assert any(candidate["variant"].startswith("evidence") for candidate in found.json["candidates"])
