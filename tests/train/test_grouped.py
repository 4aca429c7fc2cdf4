"""Training with domains and with groups that find their inputs by themselves, from rows to a package and back."""

from dataclasses import replace

import pytest
import torch

from tests.support.runs import easy_splits, quick_config
from tsugiki import api
from tsugiki.adapt.package import load_package
from tsugiki.adapt.package_checks import check_contents
from tsugiki.composed.folder import compose
from tsugiki.data.rows import Splits, read_splits
from tsugiki.errors import ConfigError, PackageError, RoutingError, RowsError
from tsugiki.evaluate.ablation import ablate
from tsugiki.report.card import card
from tsugiki.tasks.adapter import Adapter
from tsugiki.train.run import train_adapter

SETTINGS = {
    "placement.strategy": "top",
    "placement.boundary": 2,
    "placement.sites": ["mlp.up", "mlp.down"],
    "placement.form": {"kind": "low_rank", "rank": 2},
    "routing.form": {"kind": "low_rank", "rank": 2},
    "train.words": False,
    "train.epochs": 3,
}
TEXTS = ["oil leak at the pump", "belt stuck", "motor noise a b c d e f g h", "the"]


def with_domains(splits=None, name=lambda text: "short" if len(text.split()) < 6 else "long"):
    splits = splits or easy_splits(120, 30)
    parts = (splits.train, splits.validation, splits.test)
    return Splits(*[rows and replace(rows, domains=tuple(map(name, rows.texts))) for rows in parts])


def run(base, splits=None, **settings):
    return train_adapter(splits or with_domains(), quick_config(base, **{**SETTINGS, **settings}))


def grouped(trained):
    (found,) = [candidate for candidate in trained.candidates if candidate.routing]
    return found


@pytest.fixture(scope="module", params=["sequence", "token"])
def done(request, bert, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSUGIKI_HOME", str(tmp_path_factory.mktemp("home")))
        settings = {"routing.anonymous": 2, "routing.route_by": request.param}
        trained = run(bert, **settings)
        adapter = trained.adapter_of(grouped(trained))
        folder = tmp_path_factory.mktemp("out") / "it"
        adapter.save(folder)
        yield trained, adapter, folder
        adapter.close()


def test_groups_of_domains_are_raced_beside_modules_that_always_act(done):
    trained, adapter, _ = done
    assert [c.variant for c in trained.candidates][-2:] == ["suffix 2/4", "suffix 2/4 grouped"]
    routing = adapter.manifest.routing
    assert routing is not None and routing.domains == ("long", "short") and len(routing.groups) == 4
    assert {"score", "named_score", "lost", "named_rightly", "to_no_domain", "active"} == routing.metrics.keys()
    assert routing.metrics["score"] == pytest.approx(grouped(trained).score, abs=1e-4)


def test_a_saved_package_answers_as_it_did_and_its_card_speaks_of_its_groups(done):
    _, adapter, folder = done
    again = Adapter.load(folder, precision="fp32")
    assert torch.equal(torch.from_numpy(adapter.scores(TEXTS)), torch.from_numpy(again.scores(TEXTS)))
    again.close()
    assert "2 domain(s)" in card(load_package(folder).manifest)


def test_an_evaluation_can_be_told_the_domains(done):
    _, adapter, _ = done
    rows = with_domains().train.take(range(20))
    told = [p.label for p in adapter.predict(rows.texts, domains=rows.domains)]
    right = sum(label == answer for label, answer in zip(rows.labels, told, strict=True)) / 20
    names = ("text", "label", "whose")
    table = [dict(zip(names, row, strict=True)) for row in zip(rows.texts, rows.labels, rows.domains, strict=True)]
    assert api.evaluate(adapter, table, domains="whose").score == pytest.approx(right)


def test_domains_can_be_named_and_one_without_modules_is_none(done):
    _, adapter, _ = done
    found = {d: torch.from_numpy(adapter.scores(TEXTS, [d] * 4)) for d in ("long", "short", "other", None)}
    assert torch.equal(found["other"], found[None])
    assert not torch.equal(found["long"], found["short"])
    assert [p.label for p in adapter.predict(TEXTS[0], domains=["long"])]
    with pytest.raises(RoutingError) as error:
        adapter.predict(TEXTS, domains=["long"])
    assert error.value.code == "routing.rows"


def test_the_decision_of_validation_is_that_of_answering(done):
    trained, adapter, _ = done
    splits = with_domains()
    logits = torch.from_numpy(adapter.scores(splits.validation.texts)) * adapter.manifest.head.temperature
    torch.testing.assert_close(logits, grouped(trained).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("fault", ["missing", "shape", "order", "router", "too many", "below", "above"])
def test_a_package_whose_groups_do_not_hang_together_is_refused(done, fault, tmp_path):
    _, adapter, _ = done
    manifest, tensors = adapter.manifest, dict(adapter.package.tensors)
    routing = manifest.routing
    if fault == "missing":
        del tensors["groups.1.2.mlp.up.down"]
    elif fault == "shape":
        tensors["gates.pooled.weight"] = tensors["gates.pooled.weight"][:, :-1].clone()
    elif fault == "order":
        manifest = manifest.model_copy(update={"routing": routing.model_copy(update={"groups": routing.groups[::-1]})})
    elif fault in ("router", "too many"):
        rule = {"kind": "nobody"} if fault == "router" else {"kind": "top_k", "k": 99}
        manifest = manifest.model_copy(update={"routing": routing.model_copy(update={"router": rule})})
    else:
        wrong = manifest.placement.model_copy(update={"boundary": -1 if fault == "below" else 99})
        manifest = manifest.model_copy(update={"placement": wrong})
    with pytest.raises(PackageError):
        check_contents(manifest, tensors)


def test_what_knows_only_modules_that_always_act_refuses_groups(done, bert, tmp_path):
    import tsugiki
    from tsugiki.export import export, format_of
    from tsugiki.train.continued import continued

    _, adapter, folder = done
    package, splits = load_package(folder), with_domains()
    uses = {
        "export --format onnx": lambda: export(package, format_of("onnx"), tmp_path / "onnx"),
        "ablate": lambda: ablate(adapter, splits.test),
        "compose": lambda: compose([folder], name="set"),
        "train --from": lambda: continued(package, adapter.task),
        "attach": lambda: tsugiki.attach(adapter.base.model, folder),
    }
    for use, ask in uses.items():
        with pytest.raises(PackageError) as error:
            ask()
        assert error.value.code == "package.grouped" and use in str(error.value)


def test_the_share_that_acts_comes_to_the_target_and_nobody_tunes_it(bert):
    splits = easy_splits(240, 60)
    for route_by in ("sequence", "token"):
        for active in (0.25, 0.5):
            losses = [{"kind": "sparsity", "active": active}, {"kind": "z"}, {"kind": "balance"}]
            settings = {"routing.anonymous": 4, "routing.losses": losses, "routing.route_by": route_by}
            found = grouped(run(bert, splits, **settings)).routing
            assert found.metrics["active"] == pytest.approx(active, rel=0.15)


def test_equal_seeds_give_equal_groups_and_another_seed_others(bert):
    splits = with_domains()
    one, same = (grouped(run(bert, splits, routing__anonymous=1)).tensors for _ in range(2))
    other = grouped(run(bert, splits, routing__anonymous=1, train__seed=1)).tensors
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["groups.0.2.mlp.up.down"], other["groups.0.2.mlp.up.down"])


@pytest.mark.parametrize(
    ("domains", "code"),
    [
        (lambda _: "all", "train.few_domains"),
        (lambda _: "", "train.few_domains"),
        (lambda text: text, "train.few_domains"),
    ],
)
def test_domains_that_cannot_be_told_apart_are_refused(bert, domains, code):
    with pytest.raises(RowsError) as error:
        run(bert, with_domains(name=domains))
    assert error.value.code == code


def test_rows_without_a_domain_train_along_and_a_budget_is_refused(bert):
    some = with_domains(name=lambda text: {4: "short", 5: "long"}.get(len(text.split()), ""))
    assert grouped(run(bert, some)).routing.domains == ("long", "short")
    with pytest.raises(ConfigError) as error:
        run(bert, **{"budget.max_params": "2%", "placement.strategy": "evidence"})
    assert error.value.code == "train.no_groups_here"


def test_a_domain_with_one_row_gets_no_modules_and_that_is_said(bert, caplog):
    some = with_domains(name=lambda text: "long" if len(text.split()) > 5 else "short")
    lone = replace(some.train, domains=("lone", *some.train.domains[1:]))
    found = grouped(run(bert, replace(some, train=lone)))
    assert found.routing.domains == ("long", "short") and "lone" in caplog.text


def test_what_lost_beside_groups_is_gone_on_from_without_them(done, bert, tmp_path):
    from tsugiki.train.continued import settings_of

    trained, _, _ = done
    plain = next(candidate for candidate in trained.candidates if candidate.routing is None)
    adapter = trained.adapter_of(plain)
    adapter.save(tmp_path / "plain")
    settings = settings_of(load_package(tmp_path / "plain"))
    assert "routing" not in settings and "domains" not in settings["data"]
    adapter.close()


def test_gates_without_a_loss_beside_the_task_learn_as_well(bert):
    assert grouped(run(bert, easy_splits(120, 30), **{"routing.anonymous": 2, "routing.losses": []})).routing


@pytest.mark.parametrize("part", ["router", "form", "losses"])
def test_a_router_a_form_or_a_loss_that_is_not_there_is_refused(bert, part):
    wrong = {"kind": "nobody"}
    with pytest.raises(ConfigError):
        run(bert, **{f"routing.{part}": [wrong] if part == "losses" else wrong})


def test_more_modules_than_there_are_cannot_be_chosen(bert):
    with pytest.raises(RoutingError) as error:
        run(bert, **{"routing.router": {"kind": "top_k", "k": 9}})
    assert error.value.code == "routing.k"


def test_domains_are_read_from_a_column_that_is_named(tmp_path):
    from tsugiki.data.reading import Reading

    file = tmp_path / "rows.csv"
    file.write_text("text,label,company\noil leak,wet,A\nbelt stuck,jam,\n", encoding="utf-8")
    rows = read_splits(file, Reading(domains="company")).train
    plain = read_splits(file).train
    assert rows is not None and plain is not None
    assert rows.domains == ("A", "") and rows.take([1]).domains == ("",)
    assert rows.digest() != plain.digest()
    with pytest.raises(RowsError, match="--domains"):
        read_splits(file, Reading(domains="site"))
