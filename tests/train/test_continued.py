"""Going on from an adapter: settings, labels and modules of it, and what cannot go on."""

from typing import Any

import pytest
import torch
from transformers import AutoModel

from tests.support.bases import tiny_base_folder
from tests.support.runs import easy_rows, easy_splits, quick_config
from tsugiki.adapt.modules import modules_only
from tsugiki.adapt.package import load_package, save_package
from tsugiki.adapt.peft import import_peft
from tsugiki.api import configure, train
from tsugiki.base.model import load_base
from tsugiki.composed.folder import compose
from tsugiki.data.reading import Reading
from tsugiki.data.rows import Rows, Splits
from tsugiki.errors import ConfigError, PackageError, RowsError
from tsugiki.report.card import card
from tsugiki.tasks.task import task_for
from tsugiki.train.continued import continued, settings_of, with_labels_of
from tsugiki.train.run import train_adapter

SPLITS = easy_splits()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base_folder(tmp_path_factory.mktemp("base"))


@pytest.fixture(autouse=True, scope="module")
def _own_home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSUGIKI_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def folders(base, tmp_path_factory):
    """A package of each kind, by the first word of its variant."""
    root = tmp_path_factory.mktemp("packages")
    trained = train_adapter(SPLITS, quick_config(base, train__learning_rate=0.02, name="first"))
    found = {c.variant.partition(" ")[0]: c for c in trained.candidates if "+" not in c.variant}
    for name, candidate in found.items():
        adapter = trained.adapter_of(candidate)
        adapter.save(root / name)
        adapter.close()
    return root


def _task(rows):
    return task_for(rows, Reading())


def _items(rows):
    return list(zip(rows.texts, rows.labels, strict=True))


def with_more_labels(rows):
    """Every fifth row has a label of its own, known by a word."""
    labels = tuple("cold" if i % 5 == 0 else label for i, label in enumerate(rows.labels))
    texts = tuple(f"hot {text}" if i % 5 == 0 else text for i, text in enumerate(rows.texts))
    return Rows(texts, labels)


def test_modules_go_on_from_where_they_stood(base, folders):
    parent = load_package(folders / "suffix")
    (plan,) = continued(parent, with_labels_of(parent, _task(SPLITS.train), SPLITS.train))
    assert plan.variant.startswith("suffix") and plan.variant.endswith(" again")
    modules = {name: tensor for name, tensor in parent.tensors.items() if name.startswith("modules.")}
    assert modules and all(plan.params[name].equal(tensor) for name, tensor in modules.items())
    trained = train_adapter(SPLITS, configure(parent=parent, settings={"train.epochs": 1, "precision": "fp32"}), parent)
    again = next(c for c in trained.candidates if c.variant == plan.variant)
    # Before the first step it answers as its parent did.
    assert again.curve[0][1] == pytest.approx(parent.manifest.metrics["validation_score"], abs=0.07)
    assert {c.variant.removesuffix(" + words") for c in trained.candidates} <= {"words", "head", plan.variant}
    assert trained.adapter.manifest.parents == (parent.digest,)


def test_a_head_alone_has_nothing_to_go_on_with_and_is_fitted_anew(folders):
    parent = load_package(folders / "head")
    assert continued(parent, _task(SPLITS.train)) == []


def test_new_labels_stand_beside_the_old_ones_and_are_learnt(base, folders, tmp_path):
    more: Any = Splits(*(with_more_labels(rows) for rows in (SPLITS.train, SPLITS.validation, SPLITS.test)))
    adapter = train({"train": _items(more.train), "validation": _items(more.validation)}, parent=folders / "suffix")
    assert adapter.labels == ("cold", "jam", "loud", "wet")
    answers = [a.label for a in adapter.predict(more.test.texts)]
    assert sum(a == b for a, b in zip(answers, more.test.labels, strict=True)) >= 7
    assert "cold" in answers


def test_a_new_label_starts_with_no_weight_and_the_others_with_theirs(folders):
    parent = load_package(folders / "suffix")
    rows = with_more_labels(SPLITS.train)
    (plan,) = continued(parent, with_labels_of(parent, _task(rows), rows))
    weight, bias = plan.params["head.weight"], plan.params["head.bias"]
    assert weight[1:].equal(parent.tensors["head.weight"]) and not weight[0].any()
    assert bias[1:].equal(parent.tensors["head.bias"]) and bias[0] == pytest.approx(float(bias[1:].mean()))


def test_labels_without_rows_stay_and_are_said(folders, caplog):
    parent = load_package(folders / "suffix")
    some = easy_rows(30)
    rows = some.take(i for i in range(30) if some.labels[i] != "wet")
    task = with_labels_of(parent, _task(rows), rows)
    assert task.labels == ("jam", "loud", "wet") and "wet" in caplog.text


def test_settings_and_base_of_the_parent_hold_where_nothing_else_is_said(base, folders):
    parent = load_package(folders / "suffix")
    found = configure(parent=parent, settings={"train.epochs": 3})
    assert found.base == str(base) and found.train.learning_rate == 0.02 and found.train.epochs == 3
    assert found.placement.form == {"kind": "bottleneck", "rank": 4}
    assert configure(parent=parent, settings={"placement.form": {"kind": "scale"}}).placement.form == {"kind": "scale"}


@pytest.fixture(scope="module")
def lora(base, folders, tmp_path_factory):
    """The modules of a LoRA that PEFT trained, imported."""
    peft = pytest.importorskip("peft", reason="the PEFT library is not installed")
    root = tmp_path_factory.mktemp("lora")
    settings = peft.LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False)
    peft.get_peft_model(AutoModel.from_pretrained(base), settings).save_pretrained(root / "peft")
    loaded = load_base(base, precision="bf16")
    grafts, params = import_peft(root / "peft", loaded)
    tensors = {f"modules.{name}": tensor for name, tensor in params.items()}
    save_package(root / "lora", modules_only("lora", loaded, grafts, "imported"), tensors, card)
    return root / "lora"


def test_a_lora_of_elsewhere_goes_on_with_a_head_that_was_fitted(base, folders, lora, tmp_path):
    parent = load_package(lora)
    trained = train_adapter(SPLITS, configure(parent=parent, settings={"train.epochs": 2, "precision": "fp32"}), parent)
    found = next(c for c in trained.candidates if c.placement.modules)
    assert found.variant == "imported again" and found.placement.modules == parent.manifest.placement.modules
    # Random modules spoil what a head of clean states would read.
    assert found.curve[0][1] > 0.6
    adapter = trained.adapter_of(found)
    adapter.save(tmp_path / "ours")
    adapter.close()
    desk = compose([tmp_path / "ours", folders / "head"], name="desk")
    assert desk.names == ("ours", "first")


def test_a_head_of_elsewhere_and_another_task_are_refused(folders):
    parent = load_package(folders / "head")
    strange = parent.manifest.model_copy(update={"training": {}})
    with pytest.raises(PackageError) as caught:
        settings_of(type(parent)(strange, parent.tensors, ""))
    assert caught.value.code == "package.not_trained_here"
    tags = Rows(("a", "b"), ("x;y", "x"), several=True)
    with pytest.raises(ConfigError) as wrong:
        with_labels_of(parent, _task(tags), tags)
    assert wrong.value.code == "train.other_task"


def test_another_base_is_refused(folders, tmp_path):
    other = tiny_base_folder(tmp_path / "other", seed=3)
    with pytest.raises(PackageError):
        train(_items(SPLITS.train), parent=folders / "suffix", base=other)


def test_nothing_goes_on_where_nothing_can_be_held_out(folders):
    few = Splits(Rows(("oil leak", "motor noise"), ("wet", "loud")))
    parent = load_package(folders / "suffix")
    with pytest.raises(RowsError) as caught:
        train_adapter(few, configure(parent=parent), parent)
    assert caught.value.code == "train.nothing_to_go_on_by"


def test_labels_are_spelled_as_the_parent_spells_them(folders):
    parent = load_package(folders / "suffix")
    wide = Splits(*(Rows(r.texts, tuple(l.upper() for l in r.labels)) for r in (SPLITS.train, SPLITS.validation)))
    config = configure(parent=parent, settings={"data.merge_labels": True, "train.epochs": 1})
    assert train_adapter(wide, config, parent).adapter.labels == ("jam", "loud", "wet")


def test_no_tensor_of_the_parent_is_changed(folders):
    parent = load_package(folders / "readout")
    before = {name: tensor.clone() for name, tensor in parent.tensors.items()}
    train_adapter(SPLITS, configure(parent=parent, settings={"train.epochs": 1, "precision": "fp32"}), parent)
    assert all(torch.equal(before[name], tensor) for name, tensor in parent.tensors.items())
