"""A router that learns from rows whose adapters are known."""

import json

import pytest
import torch

from tests.support.members import letter_rows
from tests.support.runs import easy_rows
from tsugiki import api
from tsugiki.composed.refining import refine
from tsugiki.errors import ConfigError, RowsError


def two(number, handicap, seed=0):
    """Densities of rows to two adapters, of which the second is underrated by so many nats."""
    generator = torch.Generator().manual_seed(seed)
    owners = torch.arange(number) % 2
    own = torch.nn.functional.one_hot(owners, 2) * 10.0
    densities = own + 8 * torch.randn(number, 2, generator=generator)
    return densities - torch.tensor([0.0, handicap]), owners


def test_an_adapter_that_is_underrated_gets_an_offset_that_makes_up_for_it():
    densities, owners = two(400, 30.0)
    found = refine(densities, owners)
    assert found.offsets[1] - found.offsets[0] == pytest.approx(30, abs=5)
    assert found.before < 0.6 and found.after > 0.75
    fresh, truth = two(400, 30.0, seed=1)
    assert ((fresh + found.offsets).argmax(1) == truth).float().mean() == pytest.approx(found.after, abs=0.05)


def test_where_nothing_is_to_be_made_up_for_nothing_is():
    densities, owners = two(400, 0.0)
    assert refine(densities, owners).offsets.abs().max() < 3


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_few_rows_teach_no_nonsense(number):
    found = refine(*two(number, 0.0))
    assert found.offsets.isfinite().all() and 0 <= found.before <= found.after <= 1


def test_rows_of_one_adapter_alone_do_not_push_the_others_out():
    densities, _ = two(100, 0.0)
    found = refine(densities, torch.zeros(100, dtype=torch.int64))
    assert found.offsets.isfinite().all()


@pytest.fixture
def named(tmp_path):
    rows = [(text, "suffix") for text in easy_rows(60, seed=3).texts]
    rows += [(text, "letters") for text in letter_rows(60, seed=3).texts] + [("g h g h", "")]
    path = tmp_path / "named.jsonl"
    path.write_text("\n".join(json.dumps({"text": t, "whose": w}) for t, w in rows), encoding="utf-8")
    return path


def test_floors_rest_on_the_rows_as_well_and_the_set_keeps_them(folders, named, tmp_path):
    pair = (folders / "suffix", folders / "letters")
    plain = api.compose(*pair, out=tmp_path / "plain")
    found = api.compose(*pair, out=tmp_path / "desk", rows=named, domains="whose")
    assert [floor.num_rows for floor in plain.recogniser.floors] == [60, 60]
    assert [floor.num_rows for floor in found.recogniser.floors] == [120, 120]
    again = api.load_set(tmp_path / "desk")
    assert again.recogniser.floors == found.recogniser.floors
    assert torch.equal(again.recogniser.offsets, found.recogniser.offsets)
    assert again.set.packages[0].digest == plain.set.packages[0].digest


def test_a_set_that_was_taught_before_is_taught_anew_when_an_adapter_joins(folders, named, tmp_path):
    api.compose(folders / "suffix", out=tmp_path / "desk", rows=named, domains="whose")
    joined = api.compose(add=[folders / "letters"], out=tmp_path / "desk", rows=named, domains="whose")
    assert [floor.num_rows for floor in joined.recogniser.floors] == [120, 120]


def test_rows_that_name_nobody_of_the_set_are_refused(folders, named, tmp_path):
    with pytest.raises(RowsError) as error:
        api.compose(folders / "head", out=tmp_path / "desk", rows=named, domains="whose")
    assert error.value.code == "compose.no_owner" and not (tmp_path / "desk").exists()


@pytest.mark.parametrize("given", [{"rows": "named.jsonl"}, {"domains": "whose"}])
def test_rows_and_the_column_of_their_adapters_go_together(folders, tmp_path, given):
    with pytest.raises(ConfigError, match="column"):
        api.compose(folders / "head", out=tmp_path / "desk", **given)
