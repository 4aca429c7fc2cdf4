"""Every file and folder that a run makes can have its name on any system, Windows included."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.bases import tiny_base_folder
from tests.support.runs import easy_splits, quick_config
from tsugiki.base.upkeep import cache_root, purge
from tsugiki.evaluate.method import parse_methods
from tsugiki.tasks.adapter import Adapter
from tsugiki.train.run import train_adapter

REFUSED = re.compile(r'[<>:"\\|?*\x00-\x1f]|[. ]$')
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
LONGEST = 80  # of a name: a path has room for 260 characters on some systems

_watched: set[str] | None = None


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    """Python tells of every file that is opened, made or renamed."""
    if _watched is not None and event in ("open", "os.mkdir", "os.rename"):
        paths = arguments[:2] if event == "os.rename" else arguments[:1]
        _watched.update(str(path) for path in paths if isinstance(path, str | Path))


sys.addaudithook(_watch)


@contextmanager
def names_under(folder: Path) -> Iterator[set[str]]:
    """Collects the parts of all paths under a folder."""
    global _watched
    _watched, found = set(), set[str]()
    try:
        yield found
    finally:
        seen, _watched = _watched, None
        within = (Path(path) for path in seen if path.startswith(f"{folder}/"))
        found.update(part for path in within for part in path.relative_to(folder).parts)


def refused(names):
    return [name for name in names if REFUSED.search(name) or RESERVED.fullmatch(name) or len(name) > LONGEST]


@pytest.mark.parametrize("name", ["a:b", "what?", "end.", "end ", "NUL.txt", "com1", "x" * 81])
def test_the_rule_knows_what_is_refused(name):
    assert refused([name, "state-001-float32", "lock", ".adapter.12ab.part"]) == [name]


def test_a_run_makes_no_name_that_a_system_refuses(tmp_path, monkeypatch):
    monkeypatch.setenv("TSUGIKI_HOME", str(tmp_path / "home"))
    base, splits = tiny_base_folder(tmp_path / "base"), easy_splits()
    with names_under(tmp_path) as names:
        train_adapter(splits, quick_config(base)).adapter.save(tmp_path / "adapter")
        Adapter.load(tmp_path / "adapter").predict(splits.test.texts)
        purge(cache_root())
    assert {"cache", "runs", "lock", "adapter.json"} <= names
    assert refused(names) == []


def test_a_method_of_a_file_makes_no_name_that_a_system_refuses(tmp_path):
    from tsugiki.evaluate.bench import run_name

    (tmp_path / "ia3.json").write_text('{"peft_type": "IA3"}', encoding="utf-8")
    methods = parse_methods(["full", "probe", f"peft:{tmp_path / 'ia3.json'}", "tsugiki"])
    assert refused(run_name(method.name, 3, "0123456789ab") for method in methods) == []
