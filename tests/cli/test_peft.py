"""Packages out to the PEFT format and back, on a tiny base."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.cli import stand_ins
from tests.support.models import LAYERS, WIDTH, tiny
from tsugiki.adapt.forms.low_rank import LowRank
from tsugiki.adapt.package import load_package, save_package
from tsugiki.base.model import describe
from tsugiki.manifest import BaseFacts, HeadFacts, ModuleFacts, Placement
from tsugiki.report.card import card


class Tokenizer:
    model_max_length = 64

    def get_vocab(self):
        return {"oil": 0}


@pytest.fixture
def base(monkeypatch):
    made = describe(tiny("bert"), Tokenizer(), name="tiny")
    asked = []

    def load_base(name, *, precision):
        asked.append(name)
        return made

    # First, since patching imports it, and it takes the function by name.
    monkeypatch.setattr("tsugiki.exports.peft.load_base", load_base)
    monkeypatch.setattr("tsugiki.base.model.load_base", load_base)
    yield made
    assert asked == ["tiny"] * len(asked)


@pytest.fixture
def package(base, tmp_path):
    """A saved adapter with one low-rank module and a head."""
    layer, site, form = LAYERS - 1, "mlp.down", LowRank(rank=2)
    where = base.anatomy.site(layer, site)
    shapes = form.shapes(where.in_width, where.out_width)
    manifest = stand_ins.manifest(
        base=BaseFacts(
            name="tiny",
            architecture="BertModel",
            num_layers=LAYERS,
            width=WIDTH,
            layer_digests=base.layer_digests,
            tokenizer_digest=base.tokenizer_digest,
        ),
        placement=Placement(
            boundary=layer, exit=LAYERS, modules=(ModuleFacts(layer=layer, site=site, form=form.model_dump()),)
        ),
        head=HeadFacts(states=(LAYERS,)),
    )
    generator = torch.Generator().manual_seed(0)
    tensors = {f"modules.{layer}.{site}.{n}": torch.randn(s, generator=generator) for n, s in shapes.items()}
    tensors |= {"head.weight": torch.ones(2, WIDTH), "head.bias": torch.zeros(2)}
    return save_package(tmp_path / "adapter", manifest, tensors, card)


def test_formats_are_known_without_a_package(tsugiki):
    shown = tsugiki("export", "nothing", "--out", "x", "--format", "gguf")
    assert shown.code == 2 and "merged, onnx, peft" in shown.err


def test_a_package_goes_out_and_comes_back(tsugiki, package):
    out = tsugiki("export", "adapter", "--out", "peft", "--json")
    assert out.json == {"out": "peft", "format": "peft", "runners": ["PEFT"]}
    back = tsugiki("import", "peft", "--out", "again", "--json")
    assert back.json == {"out": "again", "name": "again", "count": 1}
    found = load_package(Path("again"))
    assert found.manifest.task["labels"] == ["leak", "jam"]
    assert found.manifest.placement.model_dump(exclude={"modules"}) == {"boundary": LAYERS - 1, "exit": LAYERS}
    for name in ("head.weight", "head.bias"):
        assert torch.equal(found.tensors[name], package.tensors[name])
    assert torch.allclose(change(found), change(package), atol=1e-6)


def test_both_ways_say_what_to_do_next(tsugiki, package):
    shown = tsugiki("export", "adapter", "--out", "peft").out
    assert "PEFT" in shown and "peft/README.md" in shown
    assert "tsugiki predict again" in tsugiki("import", "peft", "--out", "again").out


def test_a_lora_without_a_head_is_to_be_attached(tsugiki, package, tmp_path):
    tsugiki("export", "adapter", "--out", "peft")
    (tmp_path / "peft" / "head.safetensors").unlink()
    assert "tsugiki.attach(model" in tsugiki("import", "peft", "--out", "again").out
    shown = tsugiki("predict", "again", "--text", "oil")
    assert shown.code == 6
    assert shown.err.startswith("error[package.no_labels]: ")


@pytest.mark.parametrize("metadata", [None, {"tsugiki": "[]"}, {"tsugiki": "{"}])
def test_a_head_that_does_not_say_what_it_is_is_refused(tsugiki, package, tmp_path, metadata):
    tsugiki("export", "adapter", "--out", "peft")
    head = tmp_path / "peft" / "head.safetensors"
    save_file(load_file(head), head, metadata=metadata)
    assert tsugiki("import", "peft", "--out", "again").err.startswith("error[package.not_json]: ")


def test_a_configuration_that_names_no_base_asks_for_one(tsugiki, package, tmp_path):
    tsugiki("export", "adapter", "--out", "peft")
    file = tmp_path / "peft" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | {"base_model_name_or_path": None}), encoding="utf-8")
    assert tsugiki("import", "peft", "--out", "again").err.startswith("error[cli.no_base_named]: ")
    assert tsugiki("import", "peft", "--out", "again", "--base", "tiny").code == 0


@pytest.mark.parametrize(("content", "code"), [(None, "package.no_peft"), ("{", "package.not_json")])
def test_what_is_no_adapter_of_peft_is_said_to_be_none(tsugiki, tmp_path, content, code):
    (tmp_path / "peft").mkdir()
    if content is not None:
        (tmp_path / "peft" / "adapter_config.json").write_text(content, encoding="utf-8")
    assert tsugiki("import", "peft", "--out", "again").err.startswith(f"error[{code}]: ")


def test_an_adapter_that_peft_cannot_hold_stays(tsugiki, base, tmp_path):
    head = {"head.weight": torch.ones(2, 32), "head.bias": torch.zeros(2)}
    save_package(tmp_path / "adapter", stand_ins.manifest(), head, card)
    shown = tsugiki("export", "adapter", "--out", "peft")
    assert shown.code == 7
    assert shown.err.startswith("error[export.head_only]: ")
    assert not (tmp_path / "peft").exists()


def change(package):
    """What the module adds to its site, as one matrix."""
    (graft,) = package.grafts
    params = {n.rpartition(".")[2]: t for n, t in package.part("modules").items()}
    x = torch.eye(next(iter(params.values())).shape[0])[None]
    return graft.form.delta(params, x, x)
