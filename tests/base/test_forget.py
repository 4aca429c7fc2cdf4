"""What the cache holds is told, and rows can be taken out of it for good."""

import itertools
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from tests.base.shelf_writer import WIDTH, die_at, row_of
from tests.base.shelf_writer import _counted as counted
from tsugiki.base.facts import ABOUT, ShelfFacts
from tsugiki.base.forget import forget
from tsugiki.base.segment import MAPPED, Draft
from tsugiki.base.shelf import Shelf
from tsugiki.base.stock import stock
from tsugiki.base.upkeep import num_writers, purge, usage
from tsugiki.errors import SpaceError
from tsugiki.home import private_folder

TEXTS = [f"text {number}" for number in range(20)]


def about(max_length: int = 64, state: int = 2, tokenizer: str = "t") -> ShelfFacts:
    return ShelfFacts(
        base="tiny", kind="state", state=state, dtype="float32", tokenizer_digest=tokenizer, max_length=max_length
    )


def shelf_of(root: Path, facts: ShelfFacts) -> Shelf:
    return Shelf(Path("weights") / facts.folder, WIDTH, "float32", root=root, about=facts)


def filled(root: Path, facts: ShelfFacts, texts: list[str] = TEXTS, segments: int = 2) -> Shelf:
    """A shelf on which text `n` has the rows of number `n`, spread over segments."""
    shelf = shelf_of(root, facts)
    for part in range(segments):
        with shelf.writer(10_000) as draft:
            for number in range(part, len(texts), segments):
                draft.add(facts.key(texts[number]), row_of(number + 1))
    return shelf


def kept(root: Path, facts: ShelfFacts) -> set[str]:
    """Texts that another process finds; what it finds is what was put there."""
    shelf = shelf_of(root, facts)
    absent = set(shelf.missing([facts.key(text) for text in TEXTS]))
    found = [number for number in range(len(TEXTS)) if number not in absent]
    rows = shelf.read([facts.key(TEXTS[number]) for number in found])
    assert all(np.array_equal(rows[i], row_of(number + 1)) for i, number in enumerate(found))
    return {TEXTS[number] for number in found}


def test_what_is_forgotten_is_missing_and_all_else_is_as_it_was(tmp_path):
    filled(tmp_path, about())
    held = usage(tmp_path)
    found = forget(tmp_path, TEXTS[3:8])
    assert kept(tmp_path, about()) == {*TEXTS[:3], *TEXTS[8:]}
    assert found.num_rows == 5
    assert found.num_bytes == held - usage(tmp_path) > 0


def test_not_a_byte_of_it_is_on_the_disk(tmp_path):
    filled(tmp_path, about())
    forget(tmp_path, TEXTS[4:5])
    gone, stays = row_of(5).tobytes(), row_of(6).tobytes()
    contents = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(gone in content for content in contents)
    assert any(stays in content for content in contents)


def test_a_text_is_found_under_every_length_limit_tokenizer_and_state(tmp_path):
    kinds = [about(), about(max_length=32), about(tokenizer="u"), about(state=3)]
    for facts in kinds:
        filled(tmp_path, facts)
    assert forget(tmp_path, TEXTS[:1]).num_rows == 1
    assert all(TEXTS[0] not in kept(tmp_path, facts) for facts in kinds)


def test_a_text_that_is_not_there_changes_nothing(tmp_path):
    filled(tmp_path, about())
    before = sorted(path.name for path in tmp_path.rglob("*.idx"))
    found = forget(tmp_path, ["text", "Text 1", "text 1 "])
    assert (found.num_rows, found.num_bytes) == (0, 0)
    assert sorted(path.name for path in tmp_path.rglob("*.idx")) == before


def test_where_all_rows_go_the_shelf_goes(tmp_path):
    filled(tmp_path, about())
    filled(tmp_path, about(max_length=32), TEXTS[:2])
    forget(tmp_path, TEXTS[:2])
    assert [shelf.facts for shelf in stock(tmp_path)] == [about()]
    assert [path.parent.name for path in tmp_path.rglob(ABOUT)] == [about().folder]


def test_a_shelf_that_does_not_say_whose_rows_it_holds_goes_whole(tmp_path):
    filled(tmp_path, about())
    filled(tmp_path, about(max_length=32))
    (tmp_path / "weights" / about().folder / ABOUT).unlink()
    found = forget(tmp_path, TEXTS[:1])
    assert kept(tmp_path, about()) == set()
    assert kept(tmp_path, about(max_length=32)) == {*TEXTS[1:]}
    assert found.num_rows == 1


def test_a_damaged_segment_goes_whole(tmp_path):
    filled(tmp_path, about(), segments=1)
    (idx,) = tmp_path.rglob("*.idx")
    idx.write_bytes(idx.read_bytes()[:-1])
    forget(tmp_path, TEXTS[:1])
    assert not list(tmp_path.rglob("*.bin"))


def test_where_there_is_no_room_for_a_copy_the_segment_goes_whole(tmp_path, monkeypatch):
    filled(tmp_path, about(), segments=1)

    def full(_: Draft) -> None:
        raise SpaceError("cache.full", needed=1, quota=1, root=1, free=1)

    monkeypatch.setattr(Draft, "publish", full)
    assert forget(tmp_path, TEXTS[:1]).num_rows == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "forget.lock"]


def test_a_run_beside_it_keeps_what_it_has_read_and_finds_the_rest_missing(tmp_path):
    reader, facts = filled(tmp_path, about()), about()
    keys = [facts.key(text) for text in TEXTS]
    rows = reader.read(keys)
    later = shelf_of(tmp_path, facts)
    MAPPED.clear()  # as in another process, which has not mapped them
    forget(tmp_path, TEXTS[:5])
    assert all(np.array_equal(rows[i], row_of(i + 1)) for i in range(len(TEXTS)))
    assert {*range(5)} <= {*later.missing(keys)}
    with later.writer(10_000) as draft:
        draft.add(keys[0], row_of(1))
    assert TEXTS[0] in kept(tmp_path, facts)


@pytest.mark.parametrize("step", range(1, 13))
def test_whenever_it_is_killed_no_other_row_is_lost_and_the_next_call_ends_the_work(tmp_path, step):
    filled(tmp_path, about())
    child = os.fork()
    if child == 0:
        die_at(99)
        steps = itertools.count(1)
        for name in ("fsync", "replace", "unlink"):
            setattr(os, name, counted(getattr(os, name), steps, step))
        forget(tmp_path, TEXTS[:2])
        os._exit(0)
    os.waitpid(child, 0)
    assert kept(tmp_path, about()) >= {*TEXTS[2:]}
    forget(tmp_path, TEXTS[:2])
    assert kept(tmp_path, about()) == {*TEXTS[2:]}
    gone = row_of(1).tobytes()
    assert not any(gone in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_two_at_once_do_not_copy_what_the_other_takes_out(tmp_path):
    filled(tmp_path, about(), segments=1)
    with FileLock(private_folder(tmp_path) / "forget.lock"):
        other = threading.Thread(target=forget, args=(tmp_path, TEXTS[:2]))
        other.start()
        other.join(0.2)
        assert other.is_alive()
        assert TEXTS[0] in kept(tmp_path, about())
    other.join()
    forget(tmp_path, TEXTS[2:4])
    assert kept(tmp_path, about()) == {*TEXTS[4:]}


def test_the_stock_names_base_rows_bytes_and_last_use(tmp_path):
    filled(tmp_path, about())
    filled(tmp_path, about(max_length=32), TEXTS[:3])
    (tmp_path / "weights" / "notes.txt").write_text("of somebody else")
    for idx in (tmp_path / "weights" / about().folder).glob("*.idx"):
        os.utime(idx, (1000, 1000))
    by_length = {shelf.facts.max_length: shelf for shelf in stock(tmp_path) if shelf.facts}
    assert [len(by_length[length].keys) for length in (64, 32)] == [20, 3]
    assert sum(shelf.num_bytes for shelf in by_length.values()) == usage(tmp_path)
    assert by_length[64].last_used_s == 1000
    assert by_length[64].facts == about()


def test_an_empty_cache_has_no_stock_and_nothing_to_forget(tmp_path):
    assert stock(tmp_path / "cache") == []
    assert forget(tmp_path / "cache", TEXTS).num_rows == 0


def test_purging_takes_along_what_shelves_say_of_themselves(tmp_path):
    facts = about()
    with facts_written(tmp_path, facts) as draft:
        draft.add(facts.key("a"), row_of(1))
        assert num_writers(tmp_path) == 1
    assert num_writers(tmp_path) == 0
    purge(tmp_path)
    assert not list(tmp_path.rglob(ABOUT))


def facts_written(root: Path, facts: ShelfFacts):
    """A writer whose shelf nobody holds once it is done."""
    return shelf_of(root, facts).writer(100)
