"""Our own predict beside onnxruntime: milliseconds for one text, and whether all labels are the same.

`python -m benchmarks.onnx --data FOLDER --out FILE [--set NAME] [--rows NUMBER]`. An adapter is trained on the built-in
base without words, and every candidate of its race is written as an ONNX file. Each test text is answered on its own by
both, tokens made anew by each, in turns and with the same number of threads; medians are compared. `times` is ours
divided by onnxruntime's: at 1 or above the file is no slower than we are.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import onnxruntime
import torch
from transformers import AutoTokenizer

from benchmarks.machine import machine
from benchmarks.sets import parts
from tsugiki.data.texts import clip
from tsugiki.export import FACTS, export, format_of
from tsugiki.exports.onnx import MODEL
from tsugiki.tasks.adapter import Adapter
from tsugiki.train.config import read_config
from tsugiki.train.run import train_adapter

WARM_UP = 5
Answer = Callable[[str], str]


def ours(folder: Path) -> Answer:
    """The adapter as `tsugiki.load` gives it, in float32."""
    adapter = Adapter.load(folder, precision="fp32")
    return lambda text: adapter.predict(text)[0].label


def of_onnxruntime(folder: Path) -> Answer:
    """The file that was exported."""
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Its threads would go on spinning after each answer, on the cores on which ours comes next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(folder / MODEL), options, providers=["CPUExecutionProvider"])
    labels, length = facts["labels"], facts["max_length"]

    def answer(text: str) -> str:
        batch = tokenizer([clip(text, length)], truncation=True, max_length=length, return_tensors="np")
        (logits,) = session.run(["logits"], {name: batch[name] for name in ("input_ids", "attention_mask")})
        return str(labels[int(logits.argmax())])

    return answer


def in_turns(answers: Sequence[Answer], texts: Sequence[str]) -> tuple[list[list[str]], list[float]]:
    """Labels of all texts by each, and the median of its milliseconds; who is first changes from text to text."""
    labels: list[list[str]] = [[] for _ in answers]
    spent: list[list[float]] = [[] for _ in answers]
    order = list(range(len(answers)))
    for text in texts[:WARM_UP]:
        for answer in answers:
            answer(text)
    for text in texts:
        order.reverse()
        for at in order:
            began = time.perf_counter()
            labels[at].append(answers[at](text))
            spent[at].append(1000 * (time.perf_counter() - began))
    return labels, [median(times) for times in spent]


def main() -> None:
    """Train, export, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TSUGIKI_DATA", "data")))
    parser.add_argument("--set", default="failure_mode")
    parser.add_argument("--rows", type=int, help="test rows and training rows at most; a trial")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    name, splits = next(parts(options.set, options.data, max_test=None))
    assert splits.test is not None
    texts = splits.test.texts[: options.rows]
    train = {"words": False, "max_rows": options.rows or 2_000, "epochs": 1 if options.rows else 5}
    trained = train_adapter(splits, read_config(None, {"precision": "fp32", "train": train}))
    results = []
    for candidate in trained.candidates:
        with TemporaryDirectory() as folder:
            own, graph = Path(folder) / "adapter", Path(folder) / "onnx"
            adapter = trained.adapter_of(candidate)
            adapter.save(own)
            adapter.close()
            export(adapter.package, format_of("onnx"), graph)
            (labels, others), (own_ms, onnx_ms) = in_turns([ours(own), of_onnxruntime(graph)], texts)
            size = (graph / MODEL).stat().st_size
        results.append(
            {
                "dataset": name,
                "variant": candidate.variant,
                "rows": len(texts),
                "equal_labels": sum(a == b for a, b in zip(labels, others, strict=True)),
                "latency_ms_p50": own_ms,
                "onnx_latency_ms_p50": onnx_ms,
                "times": own_ms / onnx_ms,
                "file_bytes": size,
                "machine": f"{machine()}, onnxruntime {onnxruntime.__version__}",
            }
        )
        equal = f"{results[-1]['equal_labels']} of {len(texts)} labels are equal"
        print(f"{candidate.variant:12} {own_ms:.2f} / {onnx_ms:.2f} ms = {own_ms / onnx_ms:.2f}, {equal}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
