"""What an audit says of players that were planted, and of adapters that were trained."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.runs import easy_rows, easy_splits, quick_config
from tsugiki.audited import Member
from tsugiki.auditing.audit import _asked, audit, pair_of
from tsugiki.auditing.case import case_of
from tsugiki.auditing.receipts import receipt
from tsugiki.composed.adapters import Composed
from tsugiki.composed.folder import compose
from tsugiki.data.rows import Rows, Splits
from tsugiki.errors import PackageError, RowsError
from tsugiki.receipts import Receipt
from tsugiki.report.audit import domains, findings, lines
from tsugiki.report.audit_picture import audit_picture
from tsugiki.report.html import audit_page
from tsugiki.report.plots import png
from tsugiki.tasks.adapter import Adapter
from tsugiki.train.run import train_adapter

TEXT = "oil leak at the pump"


@pytest.fixture(scope="module")
def grouped(folders):
    """An adapter with a group for each of two domains and one without, under gates by token."""
    splits = easy_splits(120, 30)

    def named(rows):
        return replace(rows, domains=tuple("short" if len(t.split()) < 6 else "long" for t in rows.texts))

    settings = {
        "placement.strategy": "top",
        "placement.boundary": 2,
        "placement.sites": ["mlp.up"],
        "train.words": False,
    }
    form = {"kind": "low_rank", "rank": 2}
    routing = {"routing.form": form, "placement.form": form, "routing.anonymous": 1, "routing.route_by": "token"}
    config = quick_config(folders / "base", **settings, **routing).model_copy(update={"name": "grouped"})
    trained = train_adapter(Splits(named(splits.train), named(splits.validation), None), config)
    (found,) = [candidate for candidate in trained.candidates if candidate.routing]
    return trained.adapter_of(found)


# --- planted games ---------------------------------------------------------------------------------------------------


def losses(worth, rows=40):
    """What pairs of rows of a game lose, with a little noise."""
    chance = np.random.default_rng(0)
    everybody = worth(1, 1)
    told = (everybody - worth(0, 0), everybody - worth(0, 1), everybody - worth(1, 0))
    return [tuple(value + chance.normal(0, 0.01) for value in told) for _ in range(rows)]


@pytest.mark.parametrize(
    ("worth", "kind"),
    [
        (max, "redundant"),
        (lambda a, b: a * b, "needed"),
        (lambda a, b: float(a != b), "conflict"),
        (lambda a, b: a + b, "none"),
        (lambda a, b: 0.0, "none"),
    ],
)
def test_planted_relations_are_found(worth, kind):
    assert pair_of(0, 1, losses(worth)).kind == kind


def test_one_row_proves_nothing():
    assert pair_of(0, 1, [(1.0, 0.0, 0.0)]).kind == "none"


@pytest.mark.parametrize("players", range(5))
def test_each_coalition_is_asked_once_everybody_first(players):
    asked = _asked(players)
    assert asked[0] == tuple(range(players)) and len(set(asked)) == len(asked)
    assert len(asked) == len({tuple(c) for c in asked if players - len(c) <= 2})


@pytest.mark.parametrize(("effect", "error", "dead"), [(0.0, 0.001, True), (0.5, 0.1, False), (0.0, 0.1, False)])
def test_dead_is_what_surely_does_nothing(effect, error, dead):
    acting = Member(name="a", layer=1, num_modules=1, weight=1.0, activity=1.0, effect=effect, error=error)
    assert acting.is_dead is dead
    assert acting.model_copy(update={"activity": 0.0, "effect": 1.0, "error": None}).is_dead


# --- adapters --------------------------------------------------------------------------------------------------------


def planted(adapter, scales):
    tensors = {
        name: tensor * (scales.get(int(name.split(".")[1]), 1.0) if name.endswith(".up") else 1.0)
        for name, tensor in adapter.package.tensors.items()
    }
    return Adapter(replace(adapter.package, tensors=tensors), adapter.base)


def test_a_layer_whose_modules_do_nothing_is_told_to_be_dead(folders, base):
    adapter = planted(Adapter.load(folders / "low", base), {2: 0.0})
    found = audit(adapter, easy_rows(20, 5))
    by_layer = {member.layer: member for member in found.members}
    assert by_layer[2].is_dead and not by_layer[1].is_dead
    assert any("low, layer 2" in sentence for sentence in findings(found))


def test_a_layer_that_was_turned_round_makes_answers_worse(folders, base):
    adapter = planted(Adapter.load(folders / "low", base), {1: -8.0, 2: 0.0, 3: 0.0})
    found = audit(adapter, easy_rows(30, 5))
    assert found.members[0].effect < 0 and any("worse" in sentence for sentence in findings(found))


def test_effects_are_those_of_leaving_out_one_row_at_a_time(folders, base):
    adapter, rows = Adapter.load(folders / "low", base), easy_rows(5, 5)
    found = audit(adapter, rows)
    for number, member in enumerate(found.members):
        by_row = []
        for asking, label in zip(rows.texts, rows.labels, strict=True):
            case = case_of(adapter, asking)
            assert case is not None
            everybody = tuple(range(len(case.seats)))
            rest = tuple(p for p in everybody if p != number)
            worth = case.worth([everybody, rest], adapter.task.targets([label]))
            by_row.append(worth[0] - worth[1])
        assert member.effect == pytest.approx(np.mean(by_row), abs=1e-6)


def test_of_a_set_each_member_acts_on_its_own_rows_and_who_rests_is_named(folders, base):
    composed = Composed(compose([folders / "low", folders / "suffix"], name="set", share=0.02), base)
    found = audit(composed, easy_rows(12, 3))
    chosen = set(composed.chosen(easy_rows(12, 3).texts)) - {None}
    assert chosen == {member.name for member in found.members if member.activity}
    assert {member.name for member in found.members} == {"low", "suffix"}
    assert all(member.is_dead for member in found.members if not member.activity)
    assert found.num_rows == 12 and found.activity.keys() == {"jam", "loud", "wet"}
    composed.close()


def test_groups_are_players_with_the_weights_that_their_gates_gave(grouped):
    found = audit(grouped, replace(easy_rows(24, 5), domains=("x", "y") * 12))
    names = {member.name for member in found.members}
    assert {"grouped", "long", "short"} <= names and found.activity.keys() == {"x", "y"}
    assert all(member.activity == 1.0 for member in found.members if member.name == "grouped")
    assert any(0 < member.activity < 1 for member in found.members if member.name in {"long", "short"})


def test_a_coalition_of_everybody_answers_as_the_adapter_does(grouped):
    for text in easy_rows(6, 5).texts:
        case = case_of(grouped, text)
        assert case is not None
        (answer,) = grouped.predict(text)
        whole, _ = case.answering.predictions(case.logits())
        assert whole.label == answer.label and whole.probability == pytest.approx(answer.probability, abs=1e-5)


@pytest.mark.parametrize("form", [{"kind": "scale"}, {"kind": "bottleneck", "rank": 2}])
def test_that_holds_for_forms_that_read_what_a_site_returns_as_well(folders, form):
    splits = easy_splits(60, 15)
    placed = {"placement.strategy": "top", "placement.boundary": 2, "placement.sites": ["mlp.up"], "train.words": False}
    routing = {"routing.form": form, "placement.form": form, "routing.anonymous": 2}
    trained = train_adapter(splits, quick_config(folders / "base", **placed, **routing))
    (found,) = [candidate for candidate in trained.candidates if candidate.routing]
    adapter = trained.adapter_of(found)
    for text in easy_rows(4, 5).texts:
        case = case_of(adapter, text)
        assert case is not None
        whole, _ = case.answering.predictions(case.logits())
        assert whole.probability == pytest.approx(adapter.predict(text)[0].probability, abs=1e-5)
    adapter.close()


def test_a_domain_that_is_called_like_its_adapter_is_another_player(grouped):
    manifest = grouped.manifest.model_copy(update={"name": "long"})
    adapter = Adapter(replace(grouped.package, manifest=manifest), grouped.base)
    found = audit(adapter, easy_rows(12, 5))
    assert len({(member.name, member.layer) for member in found.members}) == len(found.members)
    assert all(member.activity <= 1.0 for member in found.members)
    adapter.close()


def test_labels_that_are_not_known_are_judged_by_the_answer_that_is_given(folders, base):
    adapter, rows = Adapter.load(folders / "low", base), easy_rows(6, 5)
    given = tuple(answer.label for answer in adapter.predict(rows.texts))
    strange = audit(adapter, Rows(rows.texts, ("strange",) * 6))
    assert [m.effect for m in strange.members] == [m.effect for m in audit(adapter, Rows(rows.texts, given)).members]


def test_the_page_and_the_picture_tell_it_in_both_languages(grouped, monkeypatch):
    found = audit(grouped, easy_rows(12, 5))
    for language, word in (("en", "Audit of"), ("ja", "監査")):
        monkeypatch.setenv("TSUGIKI_LANG", language)
        page = audit_page(found, {"report.audit_effects": png(audit_picture, found)})
        assert word in page and "grouped" in page
    assert len(lines(found)) == len(found.members) and len(domains(found)[1]) == 3


def test_what_cannot_be_audited_is_refused(folders, base):
    with pytest.raises(PackageError) as error:
        audit(Adapter.load(folders / "head", base), easy_rows(3))
    assert error.value.code == "ablation.no_modules"
    with pytest.raises(RowsError) as missing:
        audit(Adapter.load(folders / "low", base), Rows((), ()))
    assert missing.value.code == "audit.no_rows"


# --- receipts --------------------------------------------------------------------------------------------------------


def test_a_receipt_names_digests_and_modules_and_no_word_of_the_text(folders, base):
    adapter = Adapter.load(folders / "low", base)
    found = receipt(adapter, TEXT)
    assert found.packages == (adapter.package.digest,) and found.label == adapter.predict(TEXT)[0].label
    assert [fired.layer for fired in found.fired] == [1, 2, 3]
    assert b"pump" not in found.to_bytes()
    assert Receipt.from_bytes(found.to_bytes(), path="x") == found


def test_the_same_answer_gives_a_receipt_that_agrees_and_another_one_does_not(folders, base):
    adapter = Adapter.load(folders / "low", base)
    found = receipt(adapter, TEXT)
    assert found.agrees(receipt(Adapter.load(folders / "low", base), TEXT)) and len(found.digest()) == 64
    assert found.agrees(found.model_copy(update={"change": found.change + 0.01}))
    assert not found.agrees(found.model_copy(update={"change": found.change + 0.05}))
    assert not found.agrees(found.model_copy(update={"label": "other"}))
    assert not found.agrees(receipt(Adapter.load(folders / "suffix", base), TEXT))
    assert not found.agrees(receipt(adapter, TEXT + " the"))


def test_what_rounds_to_no_weight_has_not_fired():
    facts: Any = {
        "tsugiki_version": "1",
        "base": None,
        "packages": (),
        "label": "a",
        "probability": 0.5,
        "change": -1e-9,
    }
    one = Receipt.of("text", fired=(("a", 1, 1.0), ("b", 1, 1e-6)), **facts)
    other = Receipt.of("text", fired=(("a", 1, 1.0),), **facts)
    assert one == other and b"-0.0" not in one.to_bytes()


def test_what_nobody_knows_and_what_words_answer_have_receipts_as_well(folders, base):
    composed = Composed(compose([folders / "low", folders / "letters"], name="set"), base)
    unknown = "h h h h h h h"
    if composed.chosen([unknown]) == [None]:
        assert receipt(composed, unknown).packages == ()
    composed.close()
    words = receipt(Adapter.load(folders / "words", base), TEXT)
    assert (words.base, words.fired, words.change) == (None, (), 0.0) and len(words.packages) == 1


def test_gates_of_tokens_are_told_token_by_token(grouped):
    from tsugiki.auditing.explain import explain
    from tsugiki.report.explanation import explanation_picture

    texts = easy_rows(12, 5).texts
    found = next(e for e in (explain(grouped, t) for t in texts) if any(p.by_token for p in e.players))
    assert all(len(p.by_token) == len(found.tokens) for p in found.players if p.by_token)
    assert png(explanation_picture, found).startswith(b"\x89PNG")
    total = sum(player.value for player in found.players)
    assert torch.isfinite(torch.tensor(total))
