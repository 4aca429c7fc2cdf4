"""Clocks, bytes and operations."""

import time

import torch

from tsugiki.base.memory import PeakMemory, anonymous_bytes, mapped_bytes
from tsugiki.data.rows import Rows
from tsugiki.evaluate.measure import Clock, folder_bytes, infer_flops, latency_ms_p50

MEGABYTE = 10**6


def test_what_is_paused_is_not_on_the_clock():
    clock = Clock()
    with clock.paused():
        time.sleep(0.2)
    assert clock.seconds < 0.1


def test_memory_that_comes_and_goes_is_seen_at_its_peak():
    before = anonymous_bytes()
    with PeakMemory() as memory:
        held = torch.ones(50 * MEGABYTE, dtype=torch.uint8)
        time.sleep(0.05)
        del held
    assert 45 * MEGABYTE < memory.peak_bytes - before < 80 * MEGABYTE


def test_mapped_files_are_counted_by_their_ending_and_are_not_anonymous(tmp_path):
    path = tmp_path / "weights.mapped-here"
    path.write_bytes(bytes(32 * MEGABYTE))
    before = anonymous_bytes()
    tensor = torch.from_file(str(path), size=32 * MEGABYTE, dtype=torch.uint8)
    assert int(tensor.sum()) == 0
    assert mapped_bytes(".mapped-here") >= 31 * MEGABYTE
    assert anonymous_bytes() - before < 16 * MEGABYTE
    assert mapped_bytes(".nothing-has-this") == 0


def test_a_linear_layer_takes_two_operations_per_weight():
    layer = torch.nn.Linear(10, 20, bias=False)
    assert infer_flops(lambda rows: layer(torch.ones(len(rows), 10)), Rows(("x",) * 3)) == 2 * 10 * 20


def test_latency_is_that_of_a_call_with_so_many_rows():
    sizes = []

    def answer(rows):
        sizes.append(len(rows))
        time.sleep(0.002)

    assert 2.0 <= latency_ms_p50(answer, Rows(("a", "b")), batch=5) < 20
    assert set(sizes) == {5}


def test_the_size_of_a_folder_is_that_of_all_its_files(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "a").write_bytes(bytes(5))
    (tmp_path / "inner" / "b").write_bytes(bytes(7))
    assert folder_bytes(tmp_path) == 12
