from pathlib import Path
from typing import Any

import pytest
import torch

import tsugiki
from tests.support.models import LAYERS, WIDTH, inputs, tiny
from tsugiki import api
from tsugiki.adapt.adapted import AdaptedModel
from tsugiki.adapt.forms.low_rank import LowRank
from tsugiki.adapt.package import save_package
from tsugiki.base.anatomy import find_anatomy
from tsugiki.base.digest import layer_digests
from tsugiki.errors import ConfigError, PackageError, RoutingError, RowsError
from tsugiki.manifest import BaseFacts, DataFacts, HeadFacts, Manifest, ModuleFacts, Placement
from tsugiki.report.card import card


@pytest.fixture
def model():
    return tiny("bert")


def save(model, folder, *, modules=True):
    """A package with one trained module at the top, or with a head alone."""
    anatomy = find_anatomy(model)
    form = LowRank(rank=2)
    facts = (ModuleFacts(layer=LAYERS - 1, site="residual", form=form.model_dump()),) if modules else ()
    shapes = {f"modules.{LAYERS - 1}.residual.{name}": shape for name, shape in form.shapes(WIDTH, WIDTH).items()}
    head = {"head.weight": torch.ones(2, WIDTH), "head.bias": torch.zeros(2)}
    manifest = Manifest(
        name=folder.name,
        tsugiki_version="0",
        task={"kind": "classify", "labels": ["a", "b"], "max_length": 16},
        base=BaseFacts(
            name="tiny",
            architecture="BertModel",
            num_layers=LAYERS,
            width=WIDTH,
            layer_digests=tuple(layer_digests(model, anatomy)),
            tokenizer_digest="unknown",
        ),
        placement=Placement(boundary=LAYERS - 1 if modules else LAYERS, exit=LAYERS, modules=facts),
        head=HeadFacts(states=(LAYERS,)),
        variant="test",
        training={},
        data=DataFacts(rows_digest="", num_train=0, num_validation=0, class_counts={}),
        metrics={},
    )
    save_package(folder, manifest, {n: torch.ones(s) for n, s in shapes.items()} | head if modules else head, card)
    return folder


def output(model):
    return model(**inputs()).last_hidden_state


def test_attached_adapters_act_only_where_they_are_named(model, tmp_path):
    plain = output(model)
    adapted = tsugiki.attach(model, save(model, tmp_path / "billing"), save(model, tmp_path / "returns"))
    assert adapted.names == ["billing", "returns"]
    assert torch.equal(output(model), plain)
    with adapted.using("billing"):
        assert not torch.allclose(output(model), plain)
    assert torch.equal(output(model), plain)
    adapted.detach()


def test_attaching_to_what_is_attached_adds_to_it(model, tmp_path):
    adapted = tsugiki.attach(model, save(model, tmp_path / "billing"))
    assert isinstance(adapted, AdaptedModel)
    assert tsugiki.attach(adapted, save(model, tmp_path / "returns")) is adapted
    assert adapted.names == ["billing", "returns"]


def test_an_adapter_of_another_base_is_refused(model, tmp_path):
    with pytest.raises(PackageError, match="trained on another base") as refusal:
        tsugiki.attach(tiny("bert", seed=1), save(model, tmp_path / "billing"))
    assert refusal.value.code == "package.other_base"


def test_an_adapter_without_modules_is_refused_and_the_way_is_shown(model, tmp_path):
    with pytest.raises(PackageError, match=r"tsugiki\.load") as refusal:
        tsugiki.attach(model, save(model, tmp_path / "billing", modules=False))
    assert refusal.value.code == "cli.nothing_to_attach"


def test_a_refusal_attaches_none_of_the_others(model, tmp_path):
    adapted = tsugiki.attach(model)
    with pytest.raises(PackageError):
        tsugiki.attach(adapted, save(model, tmp_path / "good"), save(model, tmp_path / "bad", modules=False))
    assert adapted.names == []


def test_two_adapters_of_one_name_are_refused(model, tmp_path):
    adapted = tsugiki.attach(model, save(model, tmp_path / "billing"))
    with pytest.raises(RoutingError, match="attached already"):
        tsugiki.attach(adapted, tmp_path / "billing")


def test_a_column_may_be_called_like_a_number(tmp_path):
    config = api.configure(base=tmp_path / "b", text="2024", label='say "so"', settings={"train.max_rows": "20"})
    assert (config.data.text, config.data.label, config.train.max_rows) == (("2024",), 'say "so"', 20)
    assert config.base == str(tmp_path / "b")


def test_what_is_named_wins_over_settings_and_settings_over_the_file(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('base = "file"\n[train]\nepochs = 3\nseed = 4\n', encoding="utf-8")
    config = api.configure(base="named", config=file, settings={"base": "set", "train.epochs": 5})
    assert (config.base, config.train.epochs, config.train.seed) == ("named", 5, 4)


def test_a_wrong_setting_is_named_with_the_right_one():
    with pytest.raises(ConfigError, match="did you mean max_rows"):
        tsugiki.train([("a", "b")], settings={"train.maxrows": 3})


def test_rows_from_python_are_checked_like_any_others():
    with pytest.raises(RowsError):
        tsugiki.train([("oil", "leak"), ("water", "leak")])


def test_an_adapter_is_called_like_its_folder(monkeypatch, tmp_path):
    from types import SimpleNamespace

    saved: list[Path] = []
    names = []
    adapter = SimpleNamespace(save=saved.append)

    def train_adapter(splits, config, parent):
        names.append(config.name)
        return SimpleNamespace(adapter=adapter)

    monkeypatch.setattr("tsugiki.train.run.train_adapter", train_adapter)
    tsugiki.train([("oil", "leak")], out=tmp_path / "billing")
    tsugiki.train([("oil", "leak")], out=tmp_path / "x", settings={"name": "own"})
    tsugiki.train([("oil", "leak")])
    assert names == ["billing", "own", None]
    assert saved == [tmp_path / "billing", tmp_path / "x"]


def test_rows_are_evaluated_by_the_columns_of_training_unless_others_are_named(monkeypatch):
    from types import SimpleNamespace

    from tsugiki.data.reading import Reading

    seen: list[Any] = []
    monkeypatch.setattr("tsugiki.evaluate.run.evaluate", lambda *asked: seen.append(asked))
    known = Reading.of(text="Fault", label="Team")
    adapter: Any = SimpleNamespace(reading=known, manifest=SimpleNamespace(review="review"), labels=("leak",))
    frames = {"train": [], "test": [{"Fault": "oil", "Team": "leak", "Who": "Mori", "text": "pump"}]}
    tsugiki.evaluate(adapter, frames, target_precision=0.9)
    tsugiki.evaluate(adapter, frames["test"], text="text", label="Who")
    assert [(rows.texts, rows.labels, *more) for _, rows, *more in seen] == [
        (("oil",), ("leak",), "review", 0.9),
        (("pump",), ("Mori",), "review", None),
    ]


@pytest.mark.parametrize(("kind", "dataset"), [("file", "tickets"), ("list", "list")])
def test_a_comparison_is_called_like_the_file_of_its_rows(kind, dataset, monkeypatch, tmp_path):
    asked: dict[str, Any] = {}
    monkeypatch.setattr("tsugiki.evaluate.compare.compare", lambda splits, **more: asked.update(more, splits=splits))
    file = tmp_path / "tickets.csv"
    file.write_text("text,label\noil,leak\nbelt,jam\n", encoding="utf-8")
    rows = file if kind == "file" else [("oil", "leak"), ("belt", "jam")]
    tsugiki.compare(rows, ["tfidf"], out=tmp_path / "out", settings={"train.epochs": 3})
    assert (asked["dataset"], asked["methods"], asked["out"]) == (dataset, ["tfidf"], tmp_path / "out")
    assert (asked["config"].train.epochs, asked["splits"].train.texts) == (3, ("oil", "belt"))
