"""Graphs are run by onnxruntime, on batches of shapes that were not traced."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from tests.exports import readme
from tests.support.models import LAYERS
from tests.support.packages import packed, projections
from tests.support.runs import LABELS, easy_rows, easy_splits, quick_config
from tsugiki import api
from tsugiki.adapt.adapted import RESIDUAL, Graft
from tsugiki.adapt.forms.bottleneck import Bottleneck
from tsugiki.adapt.forms.low_rank import LowRank
from tsugiki.adapt.forms.scale import Scale
from tsugiki.base.model import load_base
from tsugiki.base.tokens import encode, pad
from tsugiki.errors import ExportError, MissingError
from tsugiki.export import export, format_of
from tsugiki.exports import onnx as onnx_export
from tsugiki.exports.onnx import MODEL
from tsugiki.manifest import HeadFacts
from tsugiki.tasks.adapter import Adapter

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'tsugiki[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'tsugiki[onnx]'")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: pip install 'tsugiki[onnx]'")
pytestmark = pytest.mark.interop

READOUT = {"kind": "readout", "queries": 4}
TEXTS = ["oil leak at the pump", "belt", "Ｍｏｔｏｒ noise " + "a b c d " * 20, "valve stuck", "the"]


# Tracing takes seconds, so tests share what they can and the tiny base is cut to two layers.
EXIT = 2


def exported(package, folder):
    """The session of an export."""
    runners = export(package, format_of("onnx"), folder)
    assert list(runners) == ["onnxruntime"]
    return onnxruntime.InferenceSession(str(folder / MODEL), providers=["CPUExecutionProvider"])


def own(package, base_folder, texts):
    adapter = Adapter(package, load_base(base_folder, precision="fp32"))
    scores = adapter.scores(texts)
    adapter.close()
    return scores


def logits(session, base_folder, texts, longest=None):
    """Of one batch, padded up to a length."""
    ids, mask = pad(encode(load_base(base_folder, precision="fp32"), texts, 32))
    more = max(0, (longest or 0) - ids.shape[1])
    given = {name: np.pad(t.numpy(), ((0, 0), (0, more))) for name, t in (("input_ids", ids), ("attention_mask", mask))}
    return session.run(["logits"], given)[0]


def require_equal_on_every_shape(session, package, base_folder):
    expected = own(package, base_folder, TEXTS)
    for rows, longest in (([0], None), ([1], None), ([1], 30), ([4, 1], None), ([0, 1, 2, 3, 4], None), ([2, 0], 40)):
        found = logits(session, base_folder, [TEXTS[row] for row in rows], longest)
        assert np.abs(found - expected[rows]).max() < 1e-3, (rows, longest)


def merged_and_not(folder):
    """A package with modules that are merged beside modules that cannot be, read through queries, and calibrated."""
    grafts = [*projections(folder, 0), Graft(1, "mlp.up", Scale()), Graft(1, RESIDUAL, Bottleneck(rank=2))]
    head = HeadFacts(states=(1, EXIT), reader=READOUT, temperature=3.0)
    return packed(folder, grafts, head=head, exit=EXIT)


@pytest.fixture(scope="module")
def short(base_at, tmp_path_factory):
    """Package, session and folder of an adapter over the two lower layers of a BERT."""
    package, folder = merged_and_not(base_at()), tmp_path_factory.mktemp("short") / "out"
    return package, exported(package, folder), folder


@pytest.fixture(scope="module")
def whole(base_at, tmp_path_factory):
    """The same over all layers, with other modules and the mean reader."""
    grafts = [Graft(3, RESIDUAL, LowRank(rank=2)), Graft(0, "mlp.up", Bottleneck(rank=2))]
    package = packed(base_at(), grafts, head=HeadFacts(states=(2, LAYERS)))
    folder = tmp_path_factory.mktemp("whole") / "out"
    return package, exported(package, folder), folder


@pytest.mark.slow
@pytest.mark.parametrize("which", ["short", "whole"])
def test_batches_of_any_shape_have_the_adapters_scores(base_at, which, request):
    package, session, _ = request.getfixturevalue(which)
    require_equal_on_every_shape(session, package, base_at())


@pytest.mark.slow
@pytest.mark.parametrize("family", ["roberta", "modernbert", "deberta-v2", "llama"])
def test_so_have_those_of_other_families(base_at, family, tmp_path):
    package = merged_and_not(base_at(family))
    require_equal_on_every_shape(exported(package, tmp_path / "out"), package, base_at(family))


def test_layers_above_the_exit_are_absent_from_the_file(short, whole):
    # One softmax for the attention of each layer, and one of the readout.
    assert num_softmax(whole[2]) == LAYERS and num_softmax(short[2]) == EXIT + 1
    assert (short[2] / MODEL).stat().st_size < (whole[2] / MODEL).stat().st_size


def num_softmax(folder):
    return sum(node.op_type == "Softmax" for node in onnx.load(folder / MODEL).graph.node)


def test_labels_and_tokenizer_are_beside_the_one_file(short):
    package, _, folder = short
    files = {path.name for path in folder.iterdir()}
    assert {MODEL, "tokenizer.json", "export.json", "README.md"} <= files and f"{MODEL}.data" not in files
    assert json.loads((folder / "export.json").read_bytes())["labels"] == package.manifest.task["labels"]


@pytest.mark.slow
def test_an_adapter_that_was_trained_answers_alike_by_the_lines_of_its_readme(base_at, tmp_path):
    from tsugiki.train.run import train_adapter

    settings = {
        "train__words": False,
        "placement__strategy": "top",
        "placement__sites": ["linear"],
        "placement__form": {"kind": "low_rank", "rank": 4},
        "placement__exit": EXIT,
    }
    trained = train_adapter(easy_splits(), quick_config(base_at(), **settings))
    (suffix,) = (c for c in trained.candidates if c.placement.modules)
    adapter = trained.adapter_of(suffix)
    adapter.save(tmp_path / "adapter")
    adapter.close()
    saved = api.load(tmp_path / "adapter")
    exported(saved.package, tmp_path / "out")
    texts = list(easy_rows(72).texts)
    expected = [answer.label for answer in saved.predict(texts)]
    assert set(expected) == set(LABELS)
    assert readme.run(tmp_path / "out", "onnxruntime", texts)["printed"].strip() == str(expected)


# --- what is refused -------------------------------------------------------------------------------------------------


def refused(package, folder):
    with pytest.raises((ExportError, MissingError)) as error:
        export(package, format_of("onnx"), folder)
    assert not folder.exists()
    return error.value


@pytest.mark.parametrize("name", ["onnx", "onnxscript", "onnxruntime"])
def test_what_is_not_installed_is_told_with_the_command_that_installs_it(base_at, name, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "find_spec", lambda asked: None if asked == name else asked)
    error = refused(packed(base_at(), [], head=HeadFacts(states=(LAYERS,))), tmp_path / "out")
    assert error.code == "export.not_installed"
    assert f"not installed: {name}." in str(error) and 'pip install "tsugiki[onnx]"' in str(error)


def test_modules_without_a_head_of_classes_are_refused(base_at, tmp_path):
    error = refused(packed(base_at(), projections(base_at(), 3)), tmp_path / "out")
    assert error.code == "export.no_classes" and "--format merged" in str(error)


def test_a_base_that_is_no_graph_is_refused_by_name(base_at, tmp_path, monkeypatch):
    def forward(self, input_ids, attention_mask):
        if input_ids.sum() > 100:  # a branch on what is in the texts
            return self.weight.sum() * input_ids
        return self.bias.sum() * input_ids

    monkeypatch.setattr(onnx_export._Graph, "forward", forward)
    error = refused(packed(base_at(), [], head=HeadFacts(states=(EXIT,)), exit=EXIT), tmp_path / "out")
    assert error.code == "export.graph" and "BertModel" in str(error) and "\n" not in str(error)


def test_a_graph_that_answers_otherwise_never_appears(base_at, tmp_path, monkeypatch):
    program = SimpleNamespace(save=lambda file: file.write_bytes(b""))
    monkeypatch.setattr(onnx_export, "_program", lambda *_: program)
    package = packed(base_at(), projections(base_at(), 0), head=HeadFacts(states=(1,)), exit=1)

    def scores(folder, batches, max_length):
        found = own(package, base_at(), [text for batch in batches for text in batch])
        # Right where texts come together, wrong where one comes alone.
        return found if len(batches) == 1 else found + 0.5

    monkeypatch.setattr(onnx_export, "_written", scores)
    assert refused(package, tmp_path / "out").code == "export.differs"
