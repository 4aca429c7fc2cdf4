"""What made an answer: planted modules are found, whoever answers."""

import pytest
import torch

from tests.support.runs import easy_rows
from tsugiki.adapt.package import Package
from tsugiki.auditing.explain import explain
from tsugiki.composed.adapters import Composed
from tsugiki.composed.folder import compose
from tsugiki.tasks.adapter import Adapter

TEXT = "oil leak at the pump"


def loaded(folders, base, name):
    return Adapter.load(folders / name, base)


def planted(adapter: Adapter, scales: dict[int, float]) -> Adapter:
    """The same adapter with the modules of each layer made stronger or weaker."""
    package = adapter.package
    tensors = {
        name: tensor * scales.get(int(name.split(".")[1]), 1.0) if name.endswith(".up") else tensor
        for name, tensor in package.tensors.items()
    }
    return Adapter(Package(package.manifest, tensors, package.digest), adapter.base)


def test_values_add_up_to_what_all_modules_change(folders, base):
    adapter = loaded(folders, base, "low")
    found = explain(adapter, TEXT)
    (answer,) = adapter.predict(TEXT)
    assert found.label == answer.label and found.probability == pytest.approx(answer.probability, abs=1e-5)
    assert [player.layer for player in found.players] == [1, 2, 3] and len(found.interactions) == 3
    change = torch.tensor([found.probability / found.probability_without]).log()
    assert sum(player.value for player in found.players) == pytest.approx(float(change), abs=1e-3)


def test_a_layer_whose_modules_do_nothing_brings_nothing_and_interacts_with_none(folders, base):
    found = explain(planted(loaded(folders, base, "low"), {2: 0.0}), TEXT)
    assert found.players[1].value == pytest.approx(0, abs=1e-5)
    idle = [pair.value for pair in found.interactions if 1 in (pair.first, pair.second)]
    assert idle == pytest.approx([0, 0], abs=1e-5)


def test_the_layer_that_was_made_strong_is_found(folders, base):
    adapter = loaded(folders, base, "low")
    for layer in (1, 2, 3):
        found = explain(planted(adapter, {1: 0.0, 2: 0.0, 3: 0.0} | {layer: 8.0}), TEXT)
        values = [abs(player.value) for player in found.players]
        assert values[layer - 1] == max(values) and values[layer - 1] > 0


@pytest.mark.parametrize("name", ["head", "readout", "words"])
def test_where_no_module_acts_that_is_said(folders, base, name):
    adapter = loaded(folders, base, name)
    found = explain(adapter, TEXT)
    (answer,) = adapter.predict(TEXT)
    assert (found.players, found.interactions) == ((), ())
    assert found.label == found.label_without == answer.label
    assert found.probability_without == pytest.approx(answer.probability, abs=1e-5)


def test_classes_that_a_text_is_like_are_named_nearest_first(folders, base):
    found = explain(loaded(folders, base, "low"), TEXT)
    assert {near.name for near in found.nearest} <= {"jam", "loud", "wet"}
    above = [near.above for near in found.nearest]
    assert above == sorted(above, reverse=True) and above[-1] == 0


def test_of_a_set_the_adapter_that_answers_is_explained_and_all_are_told_by_familiarity(folders, base):
    composed = Composed(compose([folders / "low", folders / "letters"], name="set", share=0.02), base)
    text = next(
        t for t, a in zip(easy_rows(9, 3).texts, composed.chosen(easy_rows(9, 3).texts), strict=True) if a == "low"
    )
    found = explain(composed, text)
    (answer,) = composed.predict(text)
    assert found.adapter == answer.adapter == "low" and found.label == answer.label
    assert found.probability == pytest.approx(answer.probability, abs=1e-5)
    assert [near.name for near in found.nearest] == ["low", "letters"] and found.nearest[0].above >= 0
    assert {player.adapter for player in found.players} == {"low"}
    composed.close()


def test_where_two_adapters_act_the_players_are_layers_of_both(folders, base):
    router = {"kind": "top_k", "k": 2}
    composed = Composed(compose([folders / "low", folders / "suffix"], name="set", share=0.02, router=router), base)
    texts = easy_rows(30, 3).texts
    text = next(t for t, route in zip(texts, composed.routes(texts), strict=True) if len(route) == 2)
    found = explain(composed, text)
    assert {player.adapter for player in found.players} == {"low", "suffix"}
    assert found.label == composed.predict(text)[0].label
    composed.close()


def test_an_input_that_nobody_knows_has_neigbours_and_no_answer(folders, base):
    composed = Composed(compose([folders / "low", folders / "letters"], name="set"), base)
    found = explain(composed, "g g g h h h g h g h g g h i i i i l l l")
    assert (found.adapter, found.label, found.players) == (None, "", ())
    assert len(found.nearest) == 2 and all(near.above < 0 for near in found.nearest)
    composed.close()


def test_the_base_is_left_as_it_was(folders, base):
    ids = torch.arange(5, 12)[None]
    adapter = loaded(folders, base, "low")
    plain = base.model(input_ids=ids)[0]
    explain(adapter, TEXT)
    assert torch.equal(base.model(input_ids=ids)[0], plain)
    adapter.close()
