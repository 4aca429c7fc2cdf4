"""A router that learns from rows whose adapters are known."""

import json

import pytest
import torch
from torch.nn.functional import one_hot

from tests.support.members import letter_rows
from tests.support.runs import easy_rows
from tsugiki import sets
from tsugiki.adapt.correction import Correction
from tsugiki.adapt.statistics import PROJECTED
from tsugiki.composed.folder import ROUTER, load_set
from tsugiki.composed.refining import refine
from tsugiki.errors import ConfigError, MissingError, PackageError, RowsError


def two(number, handicap, seed=0):
    """Rows of two adapters, whose states differ in one direction, of which the second is underrated by some nats."""
    generator = torch.Generator().manual_seed(seed)
    owners = torch.arange(number) % 2
    densities = one_hot(owners, 2) * 10.0 + 8 * torch.randn(number, 2, generator=generator)
    states = torch.randn(number, PROJECTED, generator=generator)
    return densities - torch.tensor([0.0, handicap]), states, owners


def share(correction, densities, states, owners):
    return float(((densities + correction.of(states)).argmax(1) == owners).float().mean())


def test_an_adapter_that_is_underrated_gets_what_makes_up_for_it():
    found = refine(*two(400, 30.0))
    assert found.before < 0.6 and found.after > 0.75
    assert found.correction is not None
    assert found.correction.bias[1] - found.correction.bias[0] == pytest.approx(30, abs=6)
    assert share(found.correction, *two(400, 30.0, seed=1)) == pytest.approx(found.after, abs=0.05)


def test_a_direction_that_tells_two_apart_is_learnt():
    def rows(seed):
        densities, states, owners = two(600, 0.0, seed)
        states[:, 0] += 4.0 * (2 * owners - 1)
        return densities, states, owners

    found = refine(*rows(0))
    assert found.after > found.before + 0.1
    assert share(found.correction, *rows(1)) > found.before + 0.1


def test_where_nothing_is_to_be_learnt_nothing_is():
    densities, states, owners = two(400, 0.0)
    assert refine(densities + 100 * one_hot(owners, 2), states, owners) == (None, 1.0, 1.0)


@pytest.mark.parametrize("number", [2, 3, 9])
def test_a_few_rows_teach_no_nonsense(number):
    found = refine(*two(number, 0.0))
    assert 0 <= found.before <= found.after <= 1
    assert found.correction is None or all(tensor.isfinite().all() for tensor in found.correction.tensors().values())


def test_an_adapter_with_few_rows_counts_as_much_as_one_with_many():
    densities, states, owners = two(800, 30.0)
    kept = torch.cat([(owners == 0).nonzero().squeeze(1), (owners == 1).nonzero().squeeze(1)[:40]])
    found = refine(densities[kept], states[kept], owners[kept])
    fresh = two(800, 30.0, seed=1)
    assert found.correction is not None
    answered = (fresh[0] + found.correction.of(fresh[1])).argmax(1)
    # As many to each, though ten times as many rows of one were given.
    assert (answered == 1).float().mean() == pytest.approx(0.5, abs=0.08)


def test_rows_of_one_adapter_alone_leave_those_of_the_others_where_they_go(folders, tmp_path, caplog):
    rows = [{"text": text, "whose": "suffix"} for text in easy_rows(60, seed=3).texts]
    pair = (folders / "suffix", folders / "letters")
    found = sets.compose(*pair, out=tmp_path / "desk", rows=rows, domains="whose")
    assert "fewer than 5 different rows of letters" in caplog.text and found.set.correction is None
    letters = letter_rows(60, seed=3).texts
    assert found.chosen(letters) == sets.compose(*pair, out=tmp_path / "plain").chosen(letters)


def test_a_text_that_comes_again_is_no_further_proof(folders, tmp_path):
    rows = [{"text": text, "whose": "suffix"} for text in easy_rows(20, seed=3).texts] * 3
    found = sets.compose(folders / "suffix", folders / "letters", out=tmp_path / "desk", rows=rows, domains="whose")
    assert [floor.num_rows for floor in found.recogniser.floors] == [80, 60]


@pytest.fixture
def named(tmp_path):
    rows = [(text, "suffix") for text in easy_rows(60, seed=3).texts]
    rows += [(text, "letters") for text in letter_rows(60, seed=3).texts] + [("g h g h", "")]
    path = tmp_path / "named.jsonl"
    path.write_text("\n".join(json.dumps({"text": t, "whose": w}) for t, w in rows), encoding="utf-8")
    return path


def test_floors_rest_on_the_rows_as_well_and_the_set_keeps_them(folders, named, tmp_path):
    pair = (folders / "suffix", folders / "letters")
    plain = sets.compose(*pair, out=tmp_path / "plain")
    found = sets.compose(*pair, out=tmp_path / "desk", rows=named, domains="whose")
    assert [floor.num_rows for floor in plain.recogniser.floors] == [60, 60]
    assert [floor.num_rows for floor in found.recogniser.floors] == [120, 120]
    again = sets.load_set(tmp_path / "desk")
    assert again.recogniser.floors == found.recogniser.floors
    assert again.set.packages[0].digest == plain.set.packages[0].digest


@pytest.fixture
def taught(folders, tmp_path):
    """A set that was taught to prefer its second adapter."""
    found = sets.compose(folders / "suffix", folders / "low", out=tmp_path / "desk")
    weight = torch.randn(2, PROJECTED, generator=torch.Generator().manual_seed(0))
    found.set.taught([None, None], Correction(weight, torch.tensor([0.0, 1e3]))).save(tmp_path / "desk")
    return tmp_path / "desk"


def test_what_was_taught_is_kept_and_an_adapter_that_joins_stands_beside_it(folders, taught):
    text = easy_rows(1, seed=3).texts
    assert sets.load_set(taught).chosen(text) == ["low"]
    before = (taught / ROUTER).read_bytes()
    joined = sets.compose(add=[folders / "letters"], out=taught)
    assert joined.chosen(text) == ["low"] and (taught / ROUTER).read_bytes() == before
    assert joined.recogniser.correction.weight.shape == (3, PROJECTED)
    assert sets.load_set(taught).chosen(text) == ["low"]


def test_what_was_taught_before_stays_where_nothing_better_is_learnt(folders, taught):
    rows = [{"text": text, "whose": "low"} for text in easy_rows(30, seed=3).texts]
    before = sets.load_set(taught).set.correction
    again = sets.compose(add=[folders / "letters"], out=taught, rows=rows, domains="whose")
    assert before is not None and again.set.correction is not None
    assert torch.equal(again.set.correction.weight, before.weight)


def test_what_was_taught_is_believed_only_where_the_set_names_it(taught):
    path = taught / ROUTER
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(PackageError) as error:
        load_set(taught)
    assert error.value.code == "compose.bad_router"
    path.unlink()
    with pytest.raises(MissingError):
        load_set(taught)


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"weight": torch.zeros(2, PROJECTED)},
        {"weight": torch.zeros(2, PROJECTED), "bias": torch.zeros(3)},
        {"weight": torch.zeros(2, 7), "bias": torch.zeros(2)},
        {"weight": torch.zeros(2, PROJECTED).double(), "bias": torch.zeros(2)},
        {"weight": torch.zeros(4, PROJECTED), "bias": torch.zeros(4)},
        {"weight": torch.zeros(2, PROJECTED), "bias": torch.tensor([0.0, torch.nan])},
        {"weight": torch.zeros(0, PROJECTED), "bias": torch.zeros(0)},
        {"weight": torch.zeros(2, PROJECTED), "bias": torch.zeros(())},
    ],
)
def test_what_is_no_correction_is_refused(tensors):
    with pytest.raises(PackageError):
        Correction.from_tensors(tensors, 3, path="it")


def test_a_set_that_was_taught_before_is_taught_anew_when_an_adapter_joins(folders, named, tmp_path):
    sets.compose(folders / "suffix", out=tmp_path / "desk", rows=named, domains="whose")
    joined = sets.compose(add=[folders / "letters"], out=tmp_path / "desk", rows=named, domains="whose")
    assert [floor.num_rows for floor in joined.recogniser.floors] == [120, 120]


def test_rows_that_name_nobody_of_the_set_are_refused(folders, named, tmp_path):
    with pytest.raises(RowsError) as error:
        sets.compose(folders / "head", out=tmp_path / "desk", rows=named, domains="whose")
    assert error.value.code == "compose.no_owner" and not (tmp_path / "desk").exists()


@pytest.mark.parametrize("given", [{"rows": "named.jsonl"}, {"domains": "whose"}])
def test_rows_and_the_column_of_their_adapters_go_together(folders, tmp_path, given):
    with pytest.raises(ConfigError, match="column"):
        sets.compose(folders / "head", out=tmp_path / "desk", **given)
