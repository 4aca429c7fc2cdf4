import json

import pytest
import torch

from tsugiki.base import precision
from tsugiki.base.precision import choose_dtype, measured_speedup
from tsugiki.home import home


@pytest.fixture
def measured(monkeypatch):
    """The widths that were timed; bfloat16 is found to be as many times faster as the last item of `speedups` says."""

    class Measured(list[int]):
        speedup = 2.0

    found = Measured()

    def measure(width, device):
        found.append(width)
        return found.speedup

    monkeypatch.setattr(precision, "measured_speedup", measure)
    return found


@pytest.mark.parametrize(("chosen", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_precision_that_is_named_is_taken_without_a_measurement(measured, chosen, dtype):
    assert choose_dtype("auto", "here", 32) is torch.bfloat16
    assert choose_dtype(chosen, "here", 32) is dtype
    assert choose_dtype(chosen, "elsewhere", 64) is dtype
    assert measured == [32]


@pytest.mark.parametrize(("speedup", "dtype"), [(2.0, torch.bfloat16), (1.0, torch.float32), (0.2, torch.float32)])
def test_bfloat16_is_taken_where_it_is_clearly_faster(measured, speedup, dtype):
    measured.speedup = speedup
    assert choose_dtype("auto", "here", 32) is dtype


def test_the_answer_is_measured_once_for_each_base_and_then_remembered(measured):
    assert choose_dtype("auto", "here", 32) is torch.bfloat16
    measured.speedup = 0.5
    assert choose_dtype("auto", "here", 32) is torch.bfloat16
    assert measured == [32]
    assert choose_dtype("auto", "elsewhere", 32) is torch.float32
    assert measured == [32, 32]
    kept = json.loads((home() / "precision.json").read_text())
    assert sorted(entry["choice"] for entry in kept.values()) == ["bf16", "fp32"]
    assert choose_dtype("auto", "here", 32) is torch.bfloat16


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[]", b"null", b'"x"', b'{"key": 3}', b'{"key": {"choice": "fp8"}}']
)
def test_a_file_that_is_damaged_is_begun_anew(measured, content):
    (home() / "precision.json").write_bytes(content)
    assert choose_dtype("auto", "here", 32) is torch.bfloat16
    assert choose_dtype("auto", "here", 32) is torch.bfloat16
    assert measured == [32]
    assert len(json.loads((home() / "precision.json").read_text())) == 1


def test_an_entry_that_is_damaged_is_measured_again_and_the_others_stay(measured):
    choose_dtype("auto", "here", 32)
    choose_dtype("auto", "elsewhere", 32)
    path = home() / "precision.json"
    first, second = json.loads(path.read_text()).items()
    path.write_text(json.dumps(dict([(first[0], {"choice": None}), second])))
    measured.speedup = 1.0
    assert choose_dtype("auto", "elsewhere", 32) is torch.bfloat16
    assert choose_dtype("auto", "here", 32) is torch.float32
    assert len(measured) == 3


def test_what_another_process_remembered_in_the_meantime_stays(measured, monkeypatch):
    other = {"their key": {"choice": "fp32", "bf16_speedup": 1.0}}

    def measure(width, device):
        (home() / "precision.json").write_text(json.dumps(other))
        return 2.0

    monkeypatch.setattr(precision, "measured_speedup", measure)
    choose_dtype("auto", "here", 32)
    kept = json.loads((home() / "precision.json").read_text())
    assert len(kept) == 2 and kept["their key"] == other["their key"]


def test_a_measurement_is_a_ratio_of_speeds(monkeypatch):
    monkeypatch.setattr(precision, "_TRIAL_S", 0.01)
    assert 0.001 < measured_speedup(32, "cpu") < 1000
