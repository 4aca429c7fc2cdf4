"""Adapters that write beside LoRA of PEFT, full fine-tuning and a copy of the nearest row's target.

`python -m benchmarks.writing --data FOLDER --models FOLDER --out FILE`. stories3M on rows of four sets: 500 to learn
from, 75 to choose by, 150 to report on; six passes in batches of eight rows for all, the same prompts, end marker and
supervised tokens, float32. Ours as it comes (three boundaries raced). LoRA on all linear layers, rank 8, and full
fine-tuning take the better of two learning rates, and the best of their passes on validation. Seconds are those of the
run that won, with all candidates of ours and its cache. Scores are those of the task over answers of the likeliest
tokens. Results are kept by set and method.
"""

import argparse
import gzip
import json
import logging
import math
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from sklearn.feature_extraction.text import TfidfVectorizer
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.kept import Kept
from benchmarks.machine import machine
from tsugiki.base.model import load_base
from tsugiki.base.tokens import pad
from tsugiki.data.batches import length_batches
from tsugiki.data.rows import Rows, Splits
from tsugiki.train.config import read_config
from tsugiki.train.write import train_writer, wording_of
from tsugiki.writing.evaluation import evaluate_writer
from tsugiki.writing.wording import Wording
from tsugiki.writing.writing import WRITINGS, Writing

SETS = {
    "e2e_nlg": ("generate", None),
    "sgd_response": ("generate", None),
    "maintnorm": ("generate", "exact_match"),
    "nl2bash": ("generate", None),
}
TRAIN, HELD, TEST, PASSES, BATCH = 500, 75, 150, 6, 8
RATES = {"lora": (1e-3, 3e-3), "full": (3e-4, 1e-3)}


def rows_of(data: Path, name: str, split: str, most: int) -> tuple[Rows, list[list[str]]]:
    """Rows spread over a split, and the good answers to each."""
    with gzip.open(data / name / f"{split}.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    rows = rows[:: max(1, len(rows) // most)][:most]
    texts, targets = (tuple(row[key] for row in rows) for key in ("source", "target"))
    return Rows(texts, targets), [row.get("references") or [row["target"]] for row in rows]


def ours(splits: Splits, test: Rows, references: list[list[str]], base: str, task: str, metric: str | None) -> Any:
    """As it comes."""
    settings: dict[str, Any] = {"base": base, "precision": "fp32", "data.task": task, "data.illegible": "warn"}
    settings |= {"train.epochs": PASSES, "train.batch_rows": BATCH} | ({"writing.metric": metric} if metric else {})
    trained = train_writer(splits, read_config(None, settings))
    found = evaluate_writer(trained.adapter, test, references)
    told = {
        "variant": trained.adapter.manifest.variant,
        "score": found.score,
        "perplexity": found.perplexity,
        "base_perplexity": found.base_perplexity,
        "train_s": trained.seconds["total"],
        "loss": trained.adapter.manifest.metrics["validation_loss"],
        "curve": [(seconds, -math.log(score) if score else None) for seconds, score in trained.curve],
        "finished": found.finished,
        "further": dict(found.further),
    }
    trained.adapter.close()
    return told


def peer(kind: str, splits: Splits, test: Rows, references: list[list[str]], wording: Wording) -> Any:
    """LoRA or full fine-tuning at its better rate."""
    runs = [_tuned(kind, rate, splits, wording) for rate in RATES[kind]]
    model, told = min(runs, key=lambda run: float(run[1]["loss"]))
    answers = _written(model, wording, test.texts)
    return told | _judged(wording.writing, answers, references)


def _tuned(kind: str, rate: float, splits: Splits, wording: Wording) -> tuple[Any, dict[str, Any]]:
    torch.manual_seed(0)
    model: Any = load_base(wording.base.name, precision="fp32", head=True).model
    if kind == "lora":
        model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))
    else:
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
        model.requires_grad_(True)
    moving = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(moving, lr=rate, weight_decay=0.01)
    learnt, held = (_tokens(rows, wording) for rows in (splits.train, splits.validation))
    plan = [length_batches([len(ids) for ids, _ in learnt], 1024, BATCH, shuffle_seed=(0, n)) for n in range(PASSES)]
    total = sum(map(len, plan))
    rise = max(1, total // 10)
    schedule = LambdaLR(optimiser, lambda s: min((s + 1) / rise, max(0.0, (total - s) / max(1, total - rise))))
    spent, curve, best, kept = 0.0, [], math.inf, {}
    for batches in plan:
        began = time.perf_counter()
        model.train()
        for rows in batches:
            loss, number = _loss(model, [learnt[row] for row in rows])
            (loss / number).backward()
            clip_grad_norm_(moving, 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
        spent += time.perf_counter() - began
        model.eval()
        with torch.inference_mode():
            found = [_loss(model, [row]) for row in held]
        now = sum(float(loss) for loss, _ in found) / sum(number for _, number in found)
        curve.append((spent, now))
        if now < best:
            best, kept = now, {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    model.load_state_dict(kept, strict=False)
    return model, {"variant": f"rate {rate:g}", "loss": best, "train_s": spent, "curve": curve}


def _tokens(rows: Rows | None, wording: Wording) -> list[tuple[list[int], int]]:
    assert rows is not None
    pairs = [(wording.prompt(s)[0], wording.target(t)[0]) for s, t in zip(rows.texts, rows.labels or (), strict=True)]
    return [([*prompt, *target], len(prompt)) for prompt, target in pairs]


def _loss(model: Any, rows: list[tuple[list[int], int]]) -> tuple[torch.Tensor, int]:
    """Summed over supervised tokens, and their number; the model computes logits for all, as most people have it."""
    ids, mask = pad([ids for ids, _ in rows])
    targets = ids.masked_fill(mask == 0, -100)
    for row, (_, start) in enumerate(rows):
        targets[row, :start] = -100
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
    loss = functional.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten(), reduction="sum")
    return loss, int((targets[:, 1:] >= 0).sum())


@torch.inference_mode()
def _written(model: Any, wording: Wording, sources: tuple[str, ...]) -> list[str]:
    found = []
    for source in sources:
        ids = torch.tensor([wording.prompt(source)[0]])
        ends = {"eos_token_id": wording.end, "pad_token_id": wording.end}
        written = model.generate(input_ids=ids, max_new_tokens=wording.max_new, do_sample=False, **ends)
        found.append(wording.text(written[0, ids.shape[1] :].tolist()))
    return found


def nearest(splits: Splits, test: Rows, references: list[list[str]], writing: Writing) -> Any:
    """The target of the training row whose words are nearest."""
    assert splits.train is not None
    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    known = vectors.fit_transform(splits.train.texts)
    nearest_rows = (vectors.transform(test.texts) @ known.T).toarray().argmax(1)
    targets = splits.train.labels or ()
    return _judged(writing, [targets[row] for row in nearest_rows], references)


def _judged(writing: Writing, answers: list[str], references: list[list[str]]) -> dict[str, Any]:
    return {
        "score": fmean(writing.match(answers, references)),
        "further": dict(writing.scores(answers, references)),
    }


def main() -> None:
    """Measure what is missing and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TSUGIKI_DATA", "data")))
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    base, kept = str(options.models / "stories3M"), Kept(options.out)
    for name in options.sets:
        task, metric = SETS[name]
        learnt, held, (test, references) = (
            rows_of(options.data, name, split, most)
            for split, most in (("train", TRAIN), ("validation", HELD), ("test", TEST))
        )
        splits = Splits(learnt[0], held[0])
        with tempfile.TemporaryDirectory() as home:
            os.environ["TSUGIKI_HOME"] = home
            kept.get(f"{name} ours", partial(ours, splits, test, references, base, task, metric))
        writing = WRITINGS.parse({"kind": task, "metric": metric})
        wording = _wording(splits, base, writing)
        kept.get(f"{name} nearest", partial(nearest, splits, test, references, writing))
        for kind in RATES:
            kept.get(f"{name} {kind}", partial(peer, kind, splits, test, references, wording))
    _told(kept.found, options.sets)
    kept.get("machine", machine)


def _wording(splits: Splits, base: str, writing: Writing) -> Wording:
    """As ours is asked."""
    assert splits.train is not None
    return wording_of(load_base(base, precision="fp32", head=True), writing, splits.train, read_config(None, {}))


def _told(found: dict[str, Any], sets: list[str]) -> None:
    for name in sets:
        own, lora, full = (found[f"{name} {method}"] for method in ("ours", "lora", "full"))
        reached = next((s for s, loss in own["curve"] if loss is not None and loss <= lora["loss"]), None)
        scores = " ".join(f"{m} {100 * found[f'{name} {m}']['score']:.1f}" for m in ("ours", "lora", "full", "nearest"))
        print(f"{name}: {scores}; {own['variant']}")
        print(f"  loss ours {own['loss']:.3f}, LoRA {lora['loss']:.3f}, full {full['loss']:.3f}")
        seconds = [f"{method['train_s']:.0f}" for method in (own, lora, full)]
        print(f"  seconds {' '.join(seconds)}; ours to LoRA's loss: {reached}")


if __name__ == "__main__":
    main()
