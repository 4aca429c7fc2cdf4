"""Adapters that answer together answer as each of them would alone."""

import pytest
import torch
from torch.nn import functional

from tests.support.members import letter_rows
from tests.support.runs import easy_rows
from tsugiki.adapt.adapted import AdaptedModel
from tsugiki.base.model import load_base
from tsugiki.base.suffix import run_states
from tsugiki.composed.adapters import Composed
from tsugiki.composed.folder import compose
from tsugiki.errors import MissingError, PackageError
from tsugiki.tasks.adapter import Adapter

NAMES = ("head", "words", "readout", "suffix", "low", "letters")
TEXTS = ["oil leak at the pump", "", "belt " + "a b c d e f g h " * 20, "noise", "a b a d c", "valve stuck", "x" * 90]


@pytest.fixture(scope="module")
def base(folders):
    return load_base(folders / "base", precision="fp32")


@pytest.fixture
def together(folders, base):
    made = []

    def of(*names, **settings):
        made.append(Composed(compose([folders / name for name in names], name="set", **settings), base))
        return made[-1]

    yield of
    for composed in made:
        composed.close()


def alone(folders, base, name, texts):
    adapter = Adapter.load(folders / name, base)
    found = adapter.predict(texts)
    adapter.close()
    return found


def assert_alike(found, wanted):
    assert [(a.label, a.runner_up, a.needs_review) for a in found] == [
        (b.label, b.runner_up, b.needs_review) for b in wanted
    ]
    assert [a.probability for a in found] == pytest.approx([b.probability for b in wanted], abs=1e-5)


def test_many_adapters_over_one_pass_answer_as_each_alone(folders, base, together):
    found = together(*NAMES).run_many(TEXTS, NAMES)
    assert list(found) == list(NAMES)
    for name in NAMES:
        assert_alike(found[name], alone(folders, base, name, TEXTS))


@pytest.mark.parametrize("first", NAMES)
def test_an_answer_does_not_depend_on_who_else_is_asked(folders, base, together, first):
    composed = together(*NAMES)
    assert_alike(composed.run_many(TEXTS, [first])[first], alone(folders, base, first, TEXTS))


def test_each_input_finds_its_adapter_and_is_answered_as_by_it_alone(folders, base, together):
    composed = together("suffix", "letters", share=0.02)
    asked = {"suffix": easy_rows(90 + 60 + 9).take(range(150, 159)), "letters": letter_rows(170).take(range(150, 170))}
    for name, rows in asked.items():
        found = composed.predict(rows.texts)
        own = [at for at, answer in enumerate(found) if answer.adapter == name]
        assert len(own) >= 0.8 * len(rows) and {answer.adapter for answer in found} <= {name, None}
        assert_alike([found[at] for at in own], [alone(folders, base, name, rows.texts)[at] for at in own])


def test_rows_of_several_adapters_in_one_batch_are_answered_as_in_batches_of_their_own(together):
    composed = together("suffix", "letters", share=0.02)
    easy, letters = easy_rows(40, seed=3).texts, letter_rows(40, seed=3).texts
    mixed = composed.predict([text for pair in zip(easy, letters, strict=True) for text in pair])
    for found, wanted in ((mixed[::2], composed.predict(easy)), (mixed[1::2], composed.predict(letters))):
        assert [a.adapter for a in found] == [b.adapter for b in wanted]
        assert_alike(found, wanted)


def test_rows_of_many_lengths_go_up_in_one_pass(together, monkeypatch):
    composed = together("suffix", "letters", share=0.02)
    passes = []

    def counted(*args, **more):
        passes.append(len(args[2]))
        return run_states(*args, **more)

    monkeypatch.setattr("tsugiki.composed.shared.run_states", counted)
    texts = [" ".join(["oil leak pump"] + ["a"] * number) for number in range(8)]
    composed.run_many(texts, ["suffix"])
    assert passes == [8, 8]


def test_an_input_that_nobody_knows_has_no_answer_and_needs_a_person(together):
    composed = together("suffix", "letters")
    (answer,) = composed.predict("g g g h h h g h g h g g h i i i i l l l")
    assert (answer.adapter, answer.label, answer.probability, answer.needs_review) == (None, "", 0.0, True)
    assert composed.routes("g g g h h h g h g h g g h i i i i l l l") == [{}]
    assert answer.to_dict()["adapter"] is None


def test_no_text_is_no_answer(together):
    assert together("head", "letters").predict([]) == []


def test_with_two_modules_on_a_row_both_act_by_their_weights(base, together):
    composed = together("suffix", "low", router={"kind": "top_k", "k": 2}, share=0.02)
    texts = list(easy_rows(30, seed=3).texts)
    routes = composed.routes(texts)
    both = [at for at, route in enumerate(routes) if len(route) == 2]
    assert both and all(sum(routes[at].values()) == pytest.approx(1) for at in both)
    found = composed.predict(texts)
    assert all(found[at].adapter == max(routes[at], key=routes[at].__getitem__) for at in both)


def test_what_is_not_named_is_refused_with_what_is_nearest(together):
    with pytest.raises(MissingError) as error:
        together("suffix", "letters").run_many(["oil"], ["lettres"])
    assert error.value.code == "compose.no_member" and "'letters'" in str(error.value)


def test_a_set_of_another_base_is_refused(folders):
    with pytest.raises(PackageError) as error:
        Composed(compose([folders / "suffix"], name="set"), load_base(folders / "other base", precision="fp32"))
    assert error.value.code == "package.other_base"


def test_an_adapter_that_joins_leaves_the_answers_of_the_others_as_they_are_to_the_bit(folders, together):
    texts = list(easy_rows(12, seed=5).texts)
    before, after = together("suffix", "low"), together("suffix", "low", "letters")
    for name in ("suffix", "low"):
        first, second = (c.run_many(texts, [name])[name] for c in (before, after))
        assert first == second


def test_closing_leaves_the_base_as_it_was(folders, base):
    ids = torch.arange(5, 12)[None]
    plain = base.model(input_ids=ids)[0]
    composed = Composed(compose([folders / "suffix", folders / "low"], name="set"), base)
    composed.run_many(["oil"], ["suffix"])
    composed.close()
    assert torch.equal(base.model(input_ids=ids)[0], plain)
    assert not AdaptedModel(base.model, base.anatomy).names and functional.relu(plain).isfinite().all()
