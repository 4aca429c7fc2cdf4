"""A head of classes as two files that need no tsugiki: its tensors, and the few lines of Python that apply them."""

import json
from collections.abc import Sequence

from safetensors.torch import save

from tsugiki.adapt.package import Package
from tsugiki.data.texts import NORMALISED
from tsugiki.errors import ExportError

HEAD, LOADER = "head.safetensors", "load_head.py"

# What the lines below can pool with.
_READERS = ("mean", "readout")

_LOAD_HEAD = '''"""Scores from the hidden states of a model: they are pooled over the tokens, then weighed by the head.

    scores(model, **tokenizer(texts, padding=True, truncation=True, return_tensors="pt"))
"""

import json
from pathlib import Path

import torch
from safetensors import safe_open

with safe_open(Path(__file__).with_name("head.safetensors"), framework="pt") as file:
    head = {name: file.get_tensor(name) for name in file.keys()}
    facts = json.loads(file.metadata()["tsugiki"])
task = facts["task"]
labels = task["labels"]


@torch.no_grad()
def scores(model, input_ids, attention_mask, **_):
    """Calibrated logits, one column for each of `labels`."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    layers = base.get_submodule(facts["layers"])
    seen = {}

    def entering(state):
        return lambda _, args, kwargs: seen.update({state: args[0] if args else kwargs["hidden_states"]})

    def leaving(_, args, output):
        seen[len(layers)] = output if isinstance(output, torch.Tensor) else output[0]

    inner = [state for state in facts["states"] if state < len(layers)]
    hooks = [layers[state].register_forward_pre_hook(entering(state), with_kwargs=True) for state in inner]
    hooks.append(layers[-1].register_forward_hook(leaving))
    try:
        model(input_ids=input_ids, attention_mask=attention_mask)
    finally:
        for hook in hooks:
            hook.remove()
    states = torch.stack([seen[state].float() for state in facts["states"]])
    on = {name: tensor.to(states.device) for name, tensor in head.items()}
    # Queries of zero weigh every token alike, which is the mean.
    queries = on.get("queries", states.new_zeros(len(states), 1, states.shape[-1]))
    shares = torch.einsum("kbsd,khd->kbhs", states, queries)
    shares = shares.masked_fill(attention_mask[None, :, None] == 0, float("-inf")).softmax(-1)
    pooled = torch.einsum("kbhs,kbshc->kbhc", shares, states.unflatten(-1, (queries.shape[1], -1)))
    return pooled.flatten(2).transpose(0, 1).flatten(1) @ on["weight"].T + on["bias"]
'''


def require_portable(package: Package, format: str) -> None:
    """See that the head can be carried as files.

    Raises:
        ExportError: it reads words, or its reader is one that the lines for it do not know.
    """
    head, name = package.manifest.head, package.manifest.name
    if head.words is not None:
        raise ExportError("export.lexicon", package=name, format=format)
    if head.states and head.reader["kind"] not in _READERS:
        allowed = ", ".join(_READERS)
        raise ExportError("export.reader", package=name, format=format, found=head.reader["kind"], allowed=allowed)


def head_files(package: Package, layers: str) -> dict[str, bytes]:
    """The two files by name; none where the package has no head.

    Args:
        package: whose head it is.
        layers: path of the list of layers in the model that the head will be applied to.
    """
    head, found = package.manifest.head, package.part("head")
    if not found:
        return {}
    # Elsewhere nobody divides by it.
    tensors = {name: tensor / head.temperature for name, tensor in found.items()} | package.part("reader")
    facts = {"layers": layers, "states": head.states, "task": package.manifest.task, "reader": head.reader}
    return {HEAD: save(tensors, metadata={"tsugiki": json.dumps(facts)}), LOADER: _LOAD_HEAD.encode()}


def use_of_head(package: Package, *, model: str, tokenizer: str, imports: str, answer: Sequence[str]) -> str:
    """The lines of Python that answer with the two files.

    Args:
        package: whose head it is.
        model: expression of the model.
        tokenizer: place of the tokenizer.
        imports: what the expression needs.
        answer: lines that make `answers` of `logits` and `task`.
    """
    lines = [
        "import runpy",
        "import unicodedata",
        "",
        *(["import numpy"] if any("numpy." in line for line in answer) else []),
        imports,
        "from transformers import AutoTokenizer",
        "",
        'head = runpy.run_path("FOLDER/load_head.py")',
        f'tokenizer = AutoTokenizer.from_pretrained({json.dumps(tokenizer)}, padding_side="right")',
        "tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token",
        f"model = {model}",
        *use_of_tokenizer(package, "pt"),
        'logits, task = head["scores"](model, **batch).cpu().numpy(), head["task"]',
        *answer,
        "print(answers)",
    ]
    return "\n".join(lines)


def use_of_tokenizer(package: Package, tensors: str) -> list[str]:
    """The lines of Python that make a `batch` of texts, or of pairs of texts, with `tokenizer`.

    Args:
        package: what it was trained on.
        tensors: kind of the batch, `pt` or `np`.
    """
    task = package.manifest.task
    limits = f'padding=True, truncation=True, max_length={task.get("max_length")}, return_tensors="{tensors}"'
    if not task.get("pairs"):
        return [
            f'texts = [unicodedata.normalize("{NORMALISED}", text) for text in ["a text"]]',
            f"batch = tokenizer(texts, {limits})",
        ]
    return [
        'pairs = [("a text", "the text beside it")]',
        f'firsts, seconds = ([unicodedata.normalize("{NORMALISED}", text) for text in side] for side in zip(*pairs))',
        f"batch = tokenizer(firsts, seconds, {limits})",
    ]
