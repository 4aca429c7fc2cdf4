"""Training time on a deep base: 24 layers of a Llama shape, 512 wide, random weights, timing only.

`python -m benchmarks.deep --out FILE`. Methods take turns on the same rows in one process; only ratios count. The clock
of ours holds the build of the cache. Full fine-tuning and LoRA run the same number of epochs over the same batches.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaModel

from benchmarks.machine import machine
from tsugiki.adapt.adapted import AdaptedModel
from tsugiki.adapt.reader import mean_pool
from tsugiki.base.model import Base, describe, freeze
from tsugiki.base.prefix_cache import PrefixCache
from tsugiki.base.upkeep import CacheSettings
from tsugiki.placement.plan import STRATEGIES, Plan
from tsugiki.tasks.kinds.classify import Classify
from tsugiki.tasks.task import Task
from tsugiki.train.checkpoint import Checkpoint
from tsugiki.train.config import TrainSettings
from tsugiki.train.loop import Labelled, fit
from tsugiki.train.scion import Scion
from tsugiki.train.track import Track

ROWS, LENGTH, CLASSES, LAYERS, WIDTH, VOCABULARY = 16, 48, 8, 24, 512, 4096


class Words:
    """A tokenizer for rows that are made of token numbers."""

    pad_token_id = 0
    model_max_length = LENGTH

    def __call__(self, texts: list[str], **_: Any) -> dict[str, list[list[int]]]:
        """Numbers in a text, as ids."""
        return {"input_ids": [[int(word) for word in text.split()] for text in texts]}

    def get_vocab(self) -> dict[str, int]:
        """Each number is its own token."""
        return {str(number): number for number in range(VOCABULARY)}


def deep_base(seed: int = 0) -> Base:
    """The base, with weights of its own."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=512,
    )
    return describe(freeze(LlamaModel(config)), Words(), name="deep")


def finetune(base: Base, adapt: Callable[[nn.Module], nn.Module], rows: Labelled, epochs: int) -> float:
    """Seconds of a plain loop over the whole model."""
    body = adapt(base.model)
    head = nn.Linear(WIDTH, CLASSES)
    parameters = [p for p in (*body.parameters(), *head.parameters()) if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=1e-5, fused=True)
    ids, mask = rows.rows.batch(range(len(rows.rows)))
    began = time.perf_counter()
    for _ in range(epochs):
        hidden = body(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        functional.cross_entropy(head(mean_pool(hidden, mask)), rows.targets).backward()
        optimiser.step()
        optimiser.zero_grad()
    return time.perf_counter() - began


def graft(base: Base, texts: list[str], task: Task, classes: torch.Tensor, plan: Plan, epochs: int) -> dict[str, float]:
    """Seconds of ours, cache and training, in an empty home: states of an earlier run would flatter this one."""
    settings = TrainSettings(epochs=epochs, patience=epochs, batch_tokens=ROWS * LENGTH, batch_rows=ROWS)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TSUGIKI_HOME"] = folder
        needed = [min(g.layer for g in plan.grafts)] if plan.grafts else list(plan.states)
        cache = PrefixCache(base, LENGTH, CacheSettings())
        cached = cache.rows(texts, needed, base.num_layers)
        rows = Labelled(cached, classes, task)
        track = Track(base, rows, rows, settings, Path(folder))
        scion = Scion(AdaptedModel(base.model, base.anatomy), plan.grafts, track.classifier(plan, None), 0)
        result = fit(scion, rows, rows, settings, Checkpoint(Path(folder), "run"), plan.variant)
        scion.close()
    return {"cache_s": cached.cache_s, "train_s": cached.cache_s + result.train_s}


def lora(model: nn.Module) -> nn.Module:
    """PEFT's LoRA on all linear layers."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="FEATURE_EXTRACTION")
    adapted: nn.Module = get_peft_model(model, config)
    return adapted


def main() -> None:
    """Measure all and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, VOCABULARY, (ROWS, LENGTH), generator=generator)
    texts = [" ".join(map(str, row)) for row in ids.tolist()]
    classes = torch.arange(ROWS) % CLASSES
    task = Classify(labels=tuple(map(str, range(CLASSES))))
    base = deep_base()
    form = {"kind": "bottleneck", "rank": 32}
    top = STRATEGIES.parse({"kind": "top", "sites": ["residual"], "form": form})
    race = STRATEGIES.parse({"kind": "race", "sites": ["residual"], "form": form})
    plans = {
        "suffix, one layer": top.suffix(base.anatomy, LAYERS - 1),
        "suffix, two layers": top.suffix(base.anatomy, LAYERS - 2),
        "readout": race.plans(base.anatomy)[0],
    }
    results: list[dict[str, Any]] = []
    for method, plan in plans.items():
        results.append({"method": method, **graft(base, texts, task, classes, plan, options.epochs)})
    rows = Labelled(PrefixCache(base, LENGTH, CacheSettings(enabled=False)).rows(texts, (), 1), classes, task)
    for method, adapt in {"full": lambda m: m.requires_grad_(True), "lora": lora}.items():
        own = deep_base()
        results.append({"method": method, "train_s": finetune(own, adapt, rows, options.epochs)})
    seconds = {result["method"]: result["train_s"] for result in results}
    for result in results:
        result |= {
            "dataset": "random 16 x 48",
            "epochs": options.epochs,
            "times_faster_than_full": seconds["full"] / result["train_s"],
            "times_faster_than_lora": seconds["lora"] / result["train_s"],
            "machine": machine(),
        }
        print(f"{result['method']:20} {result['train_s']:8.2f} s  {result['times_faster_than_full']:6.1f} x full")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
