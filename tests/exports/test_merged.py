import runpy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from tests.exports import readme
from tests.support.models import LAYERS
from tests.support.packages import packed, projections
from tsugiki.adapt.adapted import RESIDUAL, Graft
from tsugiki.adapt.forms.bottleneck import Bottleneck
from tsugiki.adapt.forms.low_rank import LowRank
from tsugiki.adapt.head_file import HEAD, LOADER
from tsugiki.adapt.merge import merge
from tsugiki.base.model import load_base
from tsugiki.base.tokens import encode
from tsugiki.errors import ExportError, PackageError
from tsugiki.export import export, format_of
from tsugiki.exports import _check, merged
from tsugiki.manifest import HeadFacts
from tsugiki.tasks.adapter import Adapter

TEXTS = ["oil leak at the pump", "belt", "Ｍｏｔｏｒ noise " + "a b c d " * 20, "valve stuck"]
MERGED = format_of("merged")
READOUT = {"kind": "readout", "queries": 4}


def own(package, folder):
    adapter = Adapter(package, load_base(folder, precision="fp32"))
    scores = adapter.scores(TEXTS)
    adapter.close()
    return scores


def differ(out, package, folder):
    """How far the scores of an export are from the adapter's own."""
    return np.abs(readme.run(out, "transformers", TEXTS)["logits"] - own(package, folder)).max()


@pytest.mark.parametrize("reader", [{"kind": "mean"}, READOUT], ids=["mean", "readout"])
@pytest.mark.parametrize("family", ["bert", "modernbert", "deberta-v2", "llama"])
def test_the_lines_in_the_readme_answer_as_the_adapter_does(base_at, family, reader, tmp_path):
    head = HeadFacts(states=(2, LAYERS), reader=reader, temperature=2.0)
    package = packed(base_at(family), projections(base_at(family), 1, 3), head=head)
    assert list(export(package, MERGED, tmp_path / "out")) == ["transformers"]
    left = readme.run(tmp_path / "out", "transformers", TEXTS)
    expected = own(package, base_at(family))
    assert np.abs(left["logits"] - expected).max() < 1e-3
    assert left["printed"].strip() == str([package.manifest.task["labels"][i] for i in expected.argmax(1)])


def test_a_head_without_modules_goes_out_with_the_base_as_it_is(base_at, tmp_path):
    package = packed(base_at(), [], head=HeadFacts(states=(LAYERS,), reader=READOUT))
    export(package, MERGED, tmp_path / "out")
    assert np.abs(readme.run(tmp_path / "out", "transformers", TEXTS)["logits"] - own(package, base_at())).max() < 1e-3
    before, after = (load_file(folder / "model.safetensors") for folder in (base_at(), tmp_path / "out"))
    assert after.keys() <= before.keys() and all(torch.equal(before[name], after[name]) for name in after)


def test_layers_above_the_exit_are_not_written(base_at, tmp_path):
    package = packed(base_at(), projections(base_at(), 1), head=HeadFacts(states=(1, 2)), exit=2)
    export(package, MERGED, tmp_path / "out")
    assert AutoConfig.from_pretrained(tmp_path / "out").num_hidden_layers == 2
    names = load_file(tmp_path / "out" / "model.safetensors").keys()
    assert any("layer.1." in name for name in names) and not any("layer.2." in name for name in names)
    assert np.abs(readme.run(tmp_path / "out", "transformers", TEXTS)["logits"] - own(package, base_at())).max() < 1e-3


@pytest.fixture
def writer(tmp_path_factory):
    """A tiny decoder with its vocabulary head in a folder."""
    from tests.support.bases import tokenizer
    from tests.support.models import tiny

    folder = tmp_path_factory.mktemp("writer")
    tiny("llama", head=True).save_pretrained(folder)  # type: ignore[operator]
    tokenizer().save_pretrained(folder)
    return folder


def test_a_decoder_that_writes_becomes_a_plain_decoder(writer, tmp_path):
    package = packed(writer, projections(writer, 1, 3))
    assert list(export(package, MERGED, tmp_path / "out")) == ["transformers", "vLLM", "llama.cpp"]
    assert not (tmp_path / "out" / HEAD).exists() and not (tmp_path / "out" / LOADER).exists()
    base = load_base(writer, precision="fp32", head=True)
    expected = _check.answers(package, base, TEXTS)
    plain = _check.endings(base, TEXTS)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        rows = [torch.tensor([ids]) for ids in encode(base, TEXTS, 40)]
        found = torch.cat([model(row).logits[:, -1] for row in rows]).numpy()
    most = np.abs(expected).max()
    assert np.abs(found - expected).max() < 1e-4 * most < 1e-2 * most < np.abs(plain - expected).max()


def test_weights_keep_the_precision_of_the_base(base_at, tmp_path):
    folder = tmp_path / "bf16"
    base = load_base(base_at(), precision="bf16")
    base.model.save_pretrained(folder)  # type: ignore[operator]
    base.tokenizer.save_pretrained(folder)
    package = packed(folder, projections(folder, 3), head=HeadFacts(states=(LAYERS,)))
    export(package, MERGED, tmp_path / "out")
    assert {tensor.dtype for tensor in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("grafts", "head", "code"),
    [
        ([Graft(1, "mlp.up", Bottleneck(rank=2))], HeadFacts(states=(LAYERS,)), "export.form"),
        ([Graft(1, RESIDUAL, LowRank(rank=2))], HeadFacts(states=(LAYERS,)), "export.residual"),
    ],
)
def test_what_cannot_be_merged_is_refused_by_name(base_at, grafts, head, code, tmp_path):
    with pytest.raises(ExportError) as refused:
        export(packed(base_at(), grafts, head=head), MERGED, tmp_path / "out")
    assert refused.value.code == code
    assert "merged" in str(refused.value) and "with tsugiki" in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_a_module_on_a_block_of_experts_is_refused_by_name(base_at, tmp_path):
    package = packed(base_at("mixtral"), [Graft(1, "mlp", LowRank(rank=2))], head=HeadFacts(states=(LAYERS,)))
    with pytest.raises(ExportError) as refused:
        export(package, MERGED, tmp_path / "out")
    assert refused.value.code == "export.block"
    assert not (tmp_path / "out").exists()


def test_a_package_of_another_base_is_refused(base_at, tmp_path):
    package = packed(base_at(), projections(base_at(), 3), head=HeadFacts(states=(LAYERS,)))
    with pytest.raises(PackageError) as refused:
        export(package, MERGED, tmp_path / "out", str(base_at("modernbert")))
    assert refused.value.code == "package.other_base"


def test_files_that_answer_otherwise_never_appear(base_at, tmp_path, monkeypatch):
    def merge_half(base, grafts, params):
        merge(base, list(grafts)[::2], params)

    monkeypatch.setattr(merged, "merge", merge_half)
    package = packed(base_at(), projections(base_at(), 3), head=HeadFacts(states=(LAYERS,)))
    with pytest.raises(ExportError) as refused:
        export(package, MERGED, tmp_path / "out")
    assert refused.value.code == "export.differs"
    assert not (tmp_path / "out").exists()


def test_a_head_file_that_is_changed_gives_other_scores(base_at, tmp_path):
    """The lines read the file and not something that is kept elsewhere."""
    package = packed(base_at(), [], head=HeadFacts(states=(LAYERS,)))
    export(package, MERGED, tmp_path / "out")
    file = tmp_path / "out" / HEAD
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    save_file({name: tensor * 0 for name, tensor in load_file(file).items()}, file, metadata=metadata)
    loader = runpy.run_path(str(tmp_path / "out" / LOADER))
    base = load_base(tmp_path / "out", precision="fp32")
    scores = loader["scores"](base.model, **base.tokenizer(["oil"], return_tensors="pt"))
    assert torch.equal(scores, torch.zeros(1, 3))
