"""One ONNX file from token ids to calibrated logits, for onnxruntime and whatever else runs such graphs."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoTokenizer

from tsugiki.adapt.adapted import AdaptedModel
from tsugiki.adapt.head_file import use_of_tokenizer
from tsugiki.adapt.merge import is_mergeable, merge
from tsugiki.adapt.package import Package
from tsugiki.adapt.package_checks import check_base
from tsugiki.adapt.reader import READERS
from tsugiki.base.model import Base, load_base
from tsugiki.base.suffix import run_states
from tsugiki.data.texts import clip
from tsugiki.errors import ExportError, MissingError
from tsugiki.export import Export
from tsugiki.exports._check import answers, require_equal, sample_texts
from tsugiki.tasks.task import task_of

MODEL = "model.onnx"

_NEEDED = ("onnx", "onnxscript", "onnxruntime")
_NAME = "adapter"


class Onnx(Export):
    """A classifier as a graph in float32; rows and tokens of a batch may be of any number.

    Modules of every form and all readers are in the graph; layers above the exit are not. Low-rank modules are merged.
    """

    kind: Literal["onnx"] = "onnx"

    def check(self, package: Package) -> None:
        """A head of classes that reads states alone."""
        manifest = package.manifest
        if manifest.head.words is not None:
            raise ExportError("export.lexicon", package=manifest.name, format=self.kind)
        if "labels" not in manifest.task:
            raise ExportError("export.no_classes", package=manifest.name, format=self.kind)
        if missing := [name for name in _NEEDED if find_spec(name) is None]:
            raise MissingError("export.not_installed", missing=", ".join(missing), format=self.kind)

    def open_base(self, package: Package, name: str) -> Base:
        """The layers that are run, in float32 and in main memory."""
        base = load_base(name, precision="fp32", exit=package.manifest.placement.exit)
        base.model.to("cpu")
        return base

    def write(self, package: Package, base: Base, folder: Path) -> dict[str, str]:
        """Graph and tokenizer; the graph is run and compared with the adapter."""
        check_base(package, base)
        texts = sample_texts(base)
        own = answers(package, base, texts)
        _program(_Graph(package, base), base).save(folder / MODEL)
        base.tokenizer.save_pretrained(folder)
        max_length = int(package.manifest.task["max_length"])
        require_equal(package, base, own, _written(folder, [texts], max_length))
        # One by one too, since the graph must take any number of rows and tokens.
        require_equal(package, base, own, _written(folder, [[text] for text in texts], max_length))
        answer = "\n".join(task_of(package.manifest.task).elsewhere)
        return {"onnxruntime": _USE.format(read="\n".join(use_of_tokenizer(package, "np")), answer=answer)}


class _Graph(nn.Module):
    """What is traced: the base with its modules, the reader and the head."""

    def __init__(self, package: Package, base: Base) -> None:
        super().__init__()
        params, head = package.part("modules"), package.manifest.head
        merged = [graft for graft in package.grafts if is_mergeable(base, graft)]
        merge(base, merged, params)
        adapted = AdaptedModel(base.model, base.anatomy)
        adapted.attach(_NAME, [graft for graft in package.grafts if graft not in merged], params)
        self.adapted, self.anatomy, self.states = adapted, base.anatomy, head.states
        # Registered, so that the tensors of the graph have names.
        self.base, self.banks = base.model, nn.ModuleList(adapted.banks.values())
        self.reader, self.params = READERS.parse(head.reader), nn.ParameterDict(package.part("reader"))
        self.weight = nn.Parameter(package.tensors["head.weight"] / head.temperature)
        self.bias = nn.Parameter(package.tensors["head.bias"] / head.temperature)
        self.requires_grad_(False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids and mask (B, S) to logits (B, C)."""
        with self.adapted.using(_NAME):
            found = run_states(self.base, self.anatomy, input_ids, attention_mask, self.states)
        states = torch.stack([found[state] for state in self.states])
        features = self.reader.read(dict(self.params.items()), states, attention_mask)
        return nn.functional.linear(features, self.weight, self.bias)


def _program(graph: nn.Module, base: Base) -> Any:
    """The graph as ONNX.

    Raises:
        ExportError: the base does something that ONNX has no operator for, or that fixes a shape.
    """
    ids = torch.ones(3, 11, dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    sizes = {0: "rows", 1: "tokens"}
    try:
        with _quiet(), torch.no_grad():
            return torch.onnx.export(
                graph.eval(),
                (ids, mask),
                input_names=["input_ids", "attention_mask"],
                output_names=["logits"],
                dynamic_shapes={"input_ids": sizes, "attention_mask": sizes},
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().partition("\n")[0].rstrip(".")
        architecture = type(base.model).__name__
        raise ExportError("export.graph", base=base.name, architecture=architecture, reason=reason) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what libraries say about each other, which no user could do anything about."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _written(folder: Path, batches: Sequence[Sequence[str]], max_length: int) -> NDArray[np.float32]:
    """Logits of the file, as its README computes them, (N, C)."""
    import onnxruntime

    tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="right")
    session = onnxruntime.InferenceSession(str(folder / MODEL), providers=["CPUExecutionProvider"])
    found: list[NDArray[np.float32]] = []
    for texts in batches:
        read = [clip(text, max_length) for text in texts]
        batch = tokenizer(read, padding=True, truncation=True, max_length=max_length, return_tensors="np")
        found += session.run(["logits"], {name: batch[name] for name in ("input_ids", "attention_mask")})
    return np.concatenate(found)


_USE = """\
import json
import unicodedata
from pathlib import Path

import numpy
import onnxruntime
from transformers import AutoTokenizer

task = json.loads(Path("FOLDER/export.json").read_text(encoding="utf-8"))["task"]
tokenizer = AutoTokenizer.from_pretrained("FOLDER", padding_side="right")
session = onnxruntime.InferenceSession("FOLDER/model.onnx")
{read}
logits = session.run(["logits"], {{name: batch[name] for name in ("input_ids", "attention_mask")}})[0]
{answer}
print(answers)"""
