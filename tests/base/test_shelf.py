import errno
import logging
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.base import shelf_writer
from tests.base.shelf_writer import WIDTH, key_of, put, row_of, shelf_in
from tsugiki.base import segment, shelf, upkeep
from tsugiki.base.segment import as_array
from tsugiki.base.shelf import Shelf
from tsugiki.base.upkeep import CacheSettings, Size, cache_root, purge, usage
from tsugiki.errors import ConfigError, SpaceError
from tsugiki.home import home, private_folder, write_atomically

posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no modes, and syncs no folders")


@contextmanager
def another_process(root: Path, first: int = 0, segments: int = 1, step: int = 0) -> Iterator[subprocess.Popen[str]]:
    """A writer of `segments` segments of 100 rows, from row `first` on; it dies before sync or rename number `step`."""
    command = [sys.executable, shelf_writer.__file__, root, first, segments, step]
    environment = os.environ | {"PYTHONPATH": str(Path(shelf.__file__).parents[2])}
    with subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout and process.stdout.readline() == "ready\n"
        yield process
    assert process.returncode is not None


def holds(shelf: Shelf, numbers: range) -> bool:
    rows = shelf.read([key_of(number) for number in numbers])
    return all(np.array_equal(rows[i], row_of(number)) for i, number in enumerate(numbers))


def files(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def one(root: Path, pattern: str) -> Path:
    (path,) = root.rglob(pattern)
    return path


# --- what is put comes back ------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    st.integers(1, 9),
    st.lists(st.integers(0, 12), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_what_is_put_comes_back_bit_for_bit(tmp_path_factory, dtype, width, lengths, chance):
    root = tmp_path_factory.mktemp("cache")
    shelf = Shelf(Path("a/b"), width, str(dtype).removeprefix("torch."), root=root)
    states = [torch.randn(length, width).to(dtype) for length in lengths]
    keys = [key_of(number) for number in range(len(lengths))]
    split = chance.randint(0, len(lengths))
    for part in (range(split), range(split, len(lengths))):
        with shelf.writer(10_000) as draft:
            for i in part:
                draft.add(keys[i], as_array(states[i]))

    order = chance.sample(range(len(lengths)), len(lengths))
    for reader in (shelf, Shelf(root / "a/b", width, shelf.dtype, root=root)):
        rows = reader.read([keys[i] for i in order])
        batch = rows.gather(range(len(order)), max(lengths) + 1)
        assert batch.dtype == dtype and len(rows) == len(order)
        for at, i in enumerate(order):
            assert rows.lengths[at] == lengths[i]
            assert np.array_equal(rows[at], as_array(states[i]), equal_nan=True)
            assert torch.equal(batch[at, : lengths[i]], states[i])
            assert not batch[at, lengths[i] :].any()


def test_rows_are_read_without_copying_and_cannot_be_written_to(tmp_path):
    shelf = shelf_in(tmp_path)
    put(shelf, range(10))
    row = shelf.read([key_of(3)])[0]
    assert not row.flags.owndata and not row.flags.writeable


def test_a_row_longer_than_the_batch_is_refused(tmp_path):
    shelf = shelf_in(tmp_path)
    put(shelf, range(10))
    with pytest.raises(ValueError, match="6 positions"):
        shelf.read([key_of(6)]).gather([0], 5)


def test_nothing_can_be_asked_for(tmp_path):
    shelf = shelf_in(tmp_path)
    assert shelf.missing([]) == []
    assert shelf.read([]).gather([], 3).shape == (0, 3, WIDTH)


def test_a_key_that_is_not_stored_cannot_be_read(tmp_path):
    shelf = shelf_in(tmp_path)
    put(shelf, range(3))
    with pytest.raises(KeyError, match="1 of 2"):
        shelf.read([key_of(1), key_of(7)])


@pytest.mark.parametrize(
    ("key", "array"),
    [
        (b"short", row_of(1)),
        (key_of(1), row_of(1)[0]),
        (key_of(1), row_of(1)[:, 1:]),
        (key_of(1), row_of(1).astype(np.float64)),
    ],
)
def test_a_row_of_another_kind_is_refused(tmp_path, key, array):
    shelf = shelf_in(tmp_path)
    with pytest.raises(ValueError, match=r"instead of|holds"), shelf.writer(100) as draft:
        draft.add(key, array)
    assert files(tmp_path) == []


def test_a_folder_holds_one_kind_of_rows(tmp_path):
    put(shelf_in(tmp_path), range(3))
    with pytest.raises(ValueError, match="16 x float32"):
        Shelf(Path("shelf"), WIDTH, "float16", root=tmp_path)
    assert holds(shelf_in(tmp_path), range(3))


@pytest.mark.parametrize(("folder", "dtype"), [("../elsewhere", "float32"), ("shelf", "int8")])
def test_a_shelf_is_in_the_cache_and_holds_floats(tmp_path, folder, dtype):
    with pytest.raises(ValueError, match=r"not under|holds"):
        Shelf(Path(folder), WIDTH, dtype, root=tmp_path)


# --- only what is missing is written ---------------------------------------------------------------------------------


def test_20_new_rows_among_500_write_20(tmp_path):
    put(shelf_in(tmp_path), range(480))
    before = usage(tmp_path)
    shelf = shelf_in(tmp_path)
    missing = shelf.missing([key_of(number) for number in range(500)])
    assert missing == list(range(480, 500))
    put(shelf, missing)
    new_bytes = sum(row_of(number).nbytes for number in missing)
    assert usage(tmp_path) - before == new_bytes + segment.HEADER.size + 20 * 36 + 32
    assert holds(shelf, range(500)) and holds(shelf_in(tmp_path), range(500))


def test_equal_rows_are_missing_once_and_written_once(tmp_path):
    shelf = shelf_in(tmp_path)
    assert shelf.missing([key_of(5), key_of(6), key_of(5)]) == [0, 1]
    put(shelf, [5, 6, 5])
    assert one(tmp_path, "*.bin").stat().st_size == row_of(5).nbytes + row_of(6).nbytes


def test_a_writer_without_rows_leaves_nothing(tmp_path):
    put(shelf_in(tmp_path), [])
    assert files(tmp_path) == []


def test_opening_a_shelf_makes_no_folder(tmp_path):
    shelf_in(tmp_path / "cache").missing([key_of(1)])
    assert not (tmp_path / "cache").exists()


def test_30_000_short_rows_are_opened_and_found_quickly(tmp_path):
    shelf = shelf_in(tmp_path)
    for first in range(0, 30_000, 6_000):
        put(shelf, range(first, first + 6_000))
    keys = [key_of(number) for number in range(30_000)]
    best_s = 60.0
    for _ in range(5):
        began = time.perf_counter()
        assert shelf_in(tmp_path).missing(keys) == []
        best_s = min(best_s, time.perf_counter() - began)
    assert best_s < 0.2  # 0.03 on a quiet machine


# --- a writer that dies or fails -------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("step", range(1, 7))
def test_a_writer_that_dies_between_any_two_steps_shows_all_or_nothing(tmp_path, step):
    with another_process(tmp_path, step=step) as process:
        assert process.wait() == 9
    shelf = shelf_in(tmp_path)
    missing = shelf.missing([key_of(number) for number in range(100)])
    # Steps: sync rows, rename them, sync the folder, sync the index, rename it, sync the folder.
    assert missing == ([] if step == 6 else list(range(100)))
    assert len(files(tmp_path)) == (2 if step == 6 else 0)
    put(shelf, missing)
    assert holds(shelf, range(100))


def test_a_writer_killed_at_any_moment_never_shows_half_a_segment(tmp_path):
    chance = random.Random(0)
    for attempt in range(12):
        first = 100_000 * attempt
        with another_process(tmp_path, first, segments=900) as process:
            time.sleep(chance.uniform(0, 0.05))
            process.kill()
        shelf = shelf_in(tmp_path)
        missing = shelf.missing([key_of(number) for number in range(first, first + 90_000)])
        stored = 90_000 - len(missing)
        assert stored % 100 == 0 and stored < 90_000
        assert holds(shelf, range(first, first + stored))
        assert not [name for name in files(tmp_path) if name.endswith(".part")]
        assert len(list(tmp_path.rglob("*.bin"))) == len(list(tmp_path.rglob("*.idx")))


def test_two_processes_write_to_one_folder_at_once(tmp_path):
    with another_process(tmp_path, 0, segments=20), another_process(tmp_path, 10_000, segments=20):
        watcher = shelf_in(tmp_path)
        for _ in range(20):
            shelf_in(tmp_path)  # sweeps, and must not take what the two are at work on
            watcher.missing([key_of(0)])
    assert watcher.missing([key_of(10_000)]) == []
    for first in (0, 10_000):
        assert holds(watcher, range(first, first + 2_000))
    assert len(files(tmp_path)) == 80


def test_a_draft_of_a_living_process_is_left_alone(tmp_path):
    shelf = shelf_in(tmp_path)
    with shelf.writer(1000) as draft:
        draft.add(key_of(1), row_of(1))
        other = shelf_in(tmp_path)
        assert purge(tmp_path) == 0
        assert other.missing([key_of(1)]) == [0]
    assert other.missing([key_of(1)]) == []
    assert holds(other, range(1, 2))


@pytest.mark.parametrize(("silent_s", "kept"), [(60, True), (2 * 86_400, False)])
@pytest.mark.parametrize("ending", ["bin", "bin.part", "idx.01234567.part"])
def test_a_draft_from_another_machine_is_abandoned_after_a_day_of_silence(tmp_path, ending, silent_s, kept):
    draft = tmp_path / f"00000000-{os.getpid()}-0123456789abcdef.{ending}"
    draft.write_bytes(b"half")
    os.utime(draft, (time.time() - silent_s,) * 2)
    shelf_in(tmp_path)
    assert draft.exists() is kept


def test_a_draft_older_than_the_process_that_has_its_number_now_is_removed(tmp_path):
    draft = tmp_path / f"{segment.place()}-{os.getpid()}-0123456789abcdef.bin.part"
    draft.write_bytes(b"half")
    os.utime(draft, (time.time() - 30 * 86_400,) * 2)
    shelf_in(tmp_path)
    assert not draft.exists()


def test_a_segment_published_by_a_writer_that_then_ended_is_not_swept(tmp_path, monkeypatch):
    put(shelf_in(tmp_path), range(3))
    idx = one(tmp_path, "*.idx")
    hidden = idx.rename(tmp_path / "not yet")

    def publishes_and_ends(_file):
        hidden.rename(idx)
        return False

    monkeypatch.setattr(upkeep, "_writer_lives", publishes_and_ends)
    assert holds(shelf_in(tmp_path), range(3))


def test_files_of_others_in_the_cache_are_neither_counted_nor_removed(tmp_path):
    note = tmp_path / "shelf" / "notes.idx"
    note.parent.mkdir()
    note.write_text("mine")
    shelf_in(tmp_path)
    assert usage(tmp_path) == 0 and purge(tmp_path) == 0
    assert note.read_text() == "mine"


def test_an_error_in_the_block_leaves_nothing(tmp_path):
    shelf = shelf_in(tmp_path)
    with pytest.raises(KeyboardInterrupt), shelf.writer(1000) as draft:
        draft.add(key_of(1), row_of(1))
        raise KeyboardInterrupt
    assert files(tmp_path) == []
    assert shelf.missing([key_of(1)]) == [0]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("function", ["open", "fsync", "replace"])
def test_a_disk_that_is_full_leaves_nothing_and_says_so(tmp_path, monkeypatch, function, code):
    shelf = shelf_in(tmp_path)

    def full(*_arguments):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, function, full)
    with pytest.raises(SpaceError) as caught:
        put(shelf, range(10))
    monkeypatch.undo()
    assert caught.value.code == "cache.full"
    assert "needs 100.0 kB" in str(caught.value) and "TSUGIKI_HOME" in str(caught.value)
    assert files(tmp_path) == []
    put(shelf, range(10))
    assert holds(shelf, range(10))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_write_that_finds_the_disk_full_cannot_be_published_afterwards(tmp_path, monkeypatch):
    shelf = shelf_in(tmp_path)
    monkeypatch.setattr(segment, "owner_only", lambda _path, _flags: os.open("/dev/full", os.O_WRONLY))
    with shelf.writer(1000) as draft:
        draft.add(key_of(1), row_of(1))  # fits the buffer
        with pytest.raises(SpaceError):
            draft.add(key_of(2), np.zeros((50_000, WIDTH), np.float32))
    assert files(tmp_path) == []
    assert shelf.missing([key_of(1)]) == [0]


def test_another_fault_of_the_disk_is_passed_on(tmp_path, monkeypatch):
    def broken(_file):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="broken") as caught:
        put(shelf_in(tmp_path), range(10))
    assert not isinstance(caught.value, SpaceError)
    assert files(tmp_path) == []


# --- damage ----------------------------------------------------------------------------------------------------------


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[random.Random(0).randrange(len(data))] ^= 1
    path.write_bytes(data)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


@pytest.mark.parametrize(
    ("damage", "pattern"),
    [(flip_a_bit, "*.idx"), (cut_short, "*.idx"), (lambda path: path.write_bytes(b""), "*.idx"), (cut_short, "*.bin")],
)
def test_a_damaged_segment_is_removed_told_once_and_written_again(tmp_path, caplog, damage, pattern):
    put(shelf_in(tmp_path), range(10))
    damage(one(tmp_path, pattern))
    put(shelf_in(tmp_path), range(10, 20))  # opening removes the damaged one
    shelf = shelf_in(tmp_path)
    missing = shelf.missing([key_of(number) for number in range(20)])
    assert missing == list(range(10))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert len(files(tmp_path)) == 2
    put(shelf, missing)
    assert holds(shelf, range(20))


def test_rows_cut_short_after_the_index_was_read_are_missing(tmp_path):
    put(shelf_in(tmp_path), range(10))
    shelf = shelf_in(tmp_path)
    cut_short(one(tmp_path, "*.bin"))
    assert len(shelf.missing([key_of(number) for number in range(10)])) == 10


def test_an_index_without_rows_is_removed_without_a_word(tmp_path, caplog):
    put(shelf_in(tmp_path), range(10))
    one(tmp_path, "*.bin").unlink()
    assert len(shelf_in(tmp_path).missing([key_of(number) for number in range(10)])) == 10
    assert files(tmp_path) == [] and not caplog.records


# --- quota and age ---------------------------------------------------------------------------------------------------


def fill(root: Path, *names: str, num_bytes: int = 64_000) -> None:
    """Write one segment per shelf, each used a minute after the one before; an hour ago."""
    for at, name in enumerate(names):
        shelf = Shelf(Path(name), WIDTH, "float32", root=root)
        with shelf.writer(num_bytes) as draft:
            draft.add(key_of(0), np.zeros((num_bytes // 64, WIDTH), np.float32))
        del shelf, draft
        os.utime(one(root / name, "*.idx"), (time.time() - 3600 + 60 * at,) * 2)


def is_kept(root: Path, name: str) -> bool:
    return Shelf(Path(name), WIDTH, "float32", root=root).missing([key_of(0)]) == []


def test_the_quota_evicts_what_was_used_longest_ago(tmp_path, caplog):
    fill(tmp_path, "a", "b", "c")
    assert is_kept(tmp_path, "a")  # reading is use: now b is the oldest
    caplog.set_level(logging.INFO)
    shelf = Shelf(Path("d"), WIDTH, "float32", CacheSettings(quota_bytes=200_000), root=tmp_path)
    with shelf.writer(64_000) as draft:
        draft.add(key_of(0), np.zeros((1000, WIDTH), np.float32))
    assert [name for name in "abcd" if is_kept(tmp_path, name)] == ["a", "c", "d"]
    assert usage(tmp_path) <= 200_000
    assert "1 segment(s)" in caplog.text and "64.1 kB" in caplog.text


def test_what_this_process_has_mapped_is_not_evicted(tmp_path):
    fill(tmp_path, "a", "b")
    rows = Shelf(Path("a"), WIDTH, "float32", root=tmp_path).read([key_of(0)])
    os.utime(one(tmp_path / "a", "*.idx"), (time.time() - 7200,) * 2)
    shelf = Shelf(Path("c"), WIDTH, "float32", CacheSettings(quota_bytes=140_000), root=tmp_path)
    with shelf.writer(64_000) as draft:
        draft.add(key_of(0), np.zeros((1000, WIDTH), np.float32))
    assert [name for name in "abc" if is_kept(tmp_path, name)] == ["a", "c"]
    view = rows[0]
    del rows
    assert purge(tmp_path) == 0  # a view alone holds the map, c is held by its shelf
    del view, shelf, draft
    assert purge(tmp_path) > 128_000


def test_where_the_system_protects_what_another_process_has_mapped_it_stays_whole(tmp_path, monkeypatch):
    fill(tmp_path, "a")
    unlink = Path.unlink

    def protecting(path, *arguments, **options):  # as Windows does
        if path.suffix == ".bin":
            raise PermissionError(13, "The process cannot access the file")
        unlink(path, *arguments, **options)

    monkeypatch.setattr(Path, "unlink", protecting)
    assert purge(tmp_path) == 0 and is_kept(tmp_path, "a")
    with pytest.raises(SpaceError):
        upkeep.make_room(tmp_path, 100_000, CacheSettings(quota_bytes=100_000))
    assert is_kept(tmp_path, "a")


def test_what_cannot_fit_evicts_nothing(tmp_path):
    fill(tmp_path, "a", "b")
    shelf = Shelf(Path("c"), WIDTH, "float32", CacheSettings(quota_bytes=150_000), root=tmp_path)
    with pytest.raises(SpaceError) as caught, shelf.writer(150_001):
        pass
    assert caught.value.facts["needed"] == 150_001 and caught.value.facts["quota"] == 150_000
    assert is_kept(tmp_path, "a") and is_kept(tmp_path, "b")


def test_what_would_fit_only_in_the_place_of_mapped_rows_evicts_nothing(tmp_path):
    fill(tmp_path, "a", "b")
    rows = Shelf(Path("a"), WIDTH, "float32", root=tmp_path).read([key_of(0)])
    shelf = Shelf(Path("c"), WIDTH, "float32", CacheSettings(quota_bytes=150_000), root=tmp_path)
    with pytest.raises(SpaceError), shelf.writer(100_000):
        pass
    assert len(rows) == 1 and is_kept(tmp_path, "b")


def test_a_disk_that_is_short_evicts_too(tmp_path, monkeypatch):
    fill(tmp_path, "a", "b")
    usual = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usual._replace(free=upkeep.SPARE_BYTES + 1000))
    shelf = Shelf(Path("c"), WIDTH, "float32", root=tmp_path)
    with shelf.writer(64_000):
        pass
    assert not is_kept(tmp_path, "a") and is_kept(tmp_path, "b")
    with pytest.raises(SpaceError, match=r"256\.0 MB free"), shelf.writer(10**6):
        pass


@pytest.mark.parametrize(("free", "quota"), [(100 * 10**9, 20 * 10**9), (10 * 10**9, 5 * 10**9)])
def test_the_usual_quota_is_20_gb_or_half_of_what_the_disk_could_give(tmp_path, monkeypatch, free, quota):
    fill(tmp_path, "a")
    usual = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usual._replace(free=free - usage(tmp_path)))
    assert upkeep.limits(tmp_path, CacheSettings())[1] == quota


def test_a_segment_evicted_by_another_process_is_missing_unless_it_was_found_before(tmp_path):
    fill(tmp_path, "a", "b")
    found, unaware = (Shelf(Path(name), WIDTH, "float32", root=tmp_path) for name in "ab")
    assert found.missing([key_of(0)]) == []
    for name in "ab":
        for path in (tmp_path / name).iterdir():
            path.unlink()
    assert found.read([key_of(0)])[0].shape == (1000, WIDTH)
    assert unaware.missing([key_of(0)]) == [0]


def test_what_nobody_used_for_the_age_limit_is_removed(tmp_path):
    fill(tmp_path, "a", "b")
    for name, days in (("a", 31), ("b", 29)):
        os.utime(one(tmp_path / name, "*.idx"), (time.time() - days * 86_400,) * 2)
    shelf_in(tmp_path)
    assert not is_kept(tmp_path, "a") and is_kept(tmp_path, "b")


def test_purging_frees_everything_and_tells_how_much(tmp_path):
    fill(tmp_path, "a", "b/c")
    held = usage(tmp_path)
    assert held > 128_000
    assert purge(tmp_path) == held and usage(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []


def test_sizes_read_as_people_say_them():
    assert [str(Size(n)) for n in (0, 999, 1000, 10_500_000_000)] == ["0 B", "999 B", "1.0 kB", "10.5 GB"]


# --- home ------------------------------------------------------------------------------------------------------------


@posix
def test_the_cache_is_for_its_owner_only(tmp_path, monkeypatch):
    monkeypatch.setenv("TSUGIKI_HOME", str(tmp_path / "up" / "home"))
    put(Shelf(Path("a/b"), WIDTH, "float32"), range(3))
    assert cache_root() == tmp_path / "up" / "home" / "cache"
    for path in (tmp_path / "up", *(tmp_path / "up").rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)


def test_home_is_in_the_users_folder_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("TSUGIKI_HOME", "")
    assert home() == tmp_path / ".tsugiki" and home().is_dir()
    monkeypatch.setenv("TSUGIKI_HOME", "~/other")
    assert home() == tmp_path / "other"


def test_a_home_that_cannot_be_made_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TSUGIKI_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="TSUGIKI_HOME"):
        home()


@posix
def test_a_folder_that_is_there_keeps_its_mode(tmp_path):
    tmp_path.chmod(0o755)
    private_folder(tmp_path / "new")
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "settings" / "a.toml"
    write_atomically(path, b"old")

    def stopped(_file):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    monkeypatch.undo()
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new" and files(tmp_path) == ["a.toml"]
