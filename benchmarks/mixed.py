"""A batch whose rows have an adapter each, and one more adapter that joins.

`python -m benchmarks.mixed --out FILE`. The built-in base on 64 English demo tickets in one padded batch, tokens made
before; every adapter has modules of rank 8 at all projections of the upper half of the layers, with random numbers in
them. `one` has one adapter on all rows, `each` 64 adapters on 64 rows, `peft each` the same 64 as PEFT runs them
(`adapter_names`), `peft one` one of them. All take turns, many rounds, and medians are compared.
"""

import argparse
import json
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from benchmarks.machine import machine
from benchmarks.serving import milliseconds
from tsugiki.adapt.adapted import AdaptedModel
from tsugiki.base.model import Base, load_base
from tsugiki.base.tokens import encode, pad
from tsugiki.data.rows import read_splits
from tsugiki.placement.strategies.top import Top

ADAPTERS, RANK, ROUNDS = 64, 8, 15


def batch_of(base: Base) -> dict[str, Tensor]:
    """64 tickets."""
    splits = read_splits(str(files("tsugiki") / "demo" / "tickets_en"))
    assert splits.train is not None
    ids, mask = pad(encode(base, splits.train.texts[:ADAPTERS], 256))
    return {"input_ids": ids, "attention_mask": mask}


def attached(base: Base) -> AdaptedModel:
    """The base with all adapters."""
    adapted = AdaptedModel(base.model, base.anatomy)
    form = {"kind": "low_rank", "rank": RANK}
    (plan,) = Top(boundary=base.num_layers // 2, sites=("linear",), form=form).plans(base.anatomy)
    for number in range(ADAPTERS):
        adapted.attach(str(number), plan.grafts, seed=number)
        for tensor in adapted.tensors(str(number)).values():
            tensor.data.normal_(std=0.02)
    return adapted


def with_peft(base: Base) -> Any:
    """The same places and ranks as PEFT has them."""
    layers = list(range(base.num_layers // 2, base.num_layers))
    names = ["query", "key", "value", "dense"]
    config = LoraConfig(r=RANK, target_modules=names, layers_to_transform=layers, init_lora_weights=False)
    model = get_peft_model(base.model, config, adapter_name="0")
    for number in range(1, ADAPTERS):
        model.add_adapter(str(number), config)
    return model.eval()


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    bare, own, other = (load_base(None, precision="fp32") for _ in range(3))
    given, adapted = batch_of(bare), attached(own)
    model = with_peft(other)
    each = [str(number) for number in range(ADAPTERS)]

    def run(route: Any) -> Any:
        def answer() -> None:
            with torch.inference_mode(), adapted.using(route) as routed:
                routed(**given)

        return answer

    def run_peft(names: list[str] | None) -> Any:
        def answer() -> None:
            with torch.inference_mode():
                model(**given, **({} if names is None else {"adapter_names": names}))

        return answer

    def run_bare() -> None:
        with torch.inference_mode():
            bare.model(**given)

    model.set_adapter("0")
    ways = {"base": run_bare, "null": run(None), "one": run("0"), "each": run(each)}
    ways |= {"peft one": run_peft(None), "peft each": run_peft(each)}
    times = milliseconds(ways, [()], ROUNDS)
    began = time.perf_counter()
    form = {"kind": "low_rank", "rank": RANK}
    (plan,) = Top(boundary=own.num_layers // 2, sites=("linear",), form=form).plans(own.anatomy)
    before = {name: tensor.clone() for name, tensor in adapted.tensors("7").items()}
    adapted.attach("one more", plan.grafts)
    run(each)()
    # The first batch brings the modules of each site into one tensor again; what it takes besides is taken off.
    joined_s = time.perf_counter() - began - times["each"] / 1000
    unchanged = all(torch.equal(tensor, before[name]) for name, tensor in adapted.tensors("7").items())
    own_bytes = sum(tensor.numel() * tensor.element_size() for tensor in before.values())
    base_bytes = sum(p.numel() * p.element_size() for p in bare.model.parameters())
    told = {
        "milliseconds": times,
        "each_of_one": times["one"] / times["each"],
        "times_faster_than_peft": times["peft each"] / times["each"],
        "adapter_times_faster_than_peft": (times["peft each"] - times["base"]) / (times["each"] - times["base"]),
        "null_over_base": times["null"] / times["base"],
        "joined_s": joined_s,
        "others_unchanged": unchanged,
        "memory_of_copies": (base_bytes + ADAPTERS * own_bytes) / (ADAPTERS * base_bytes),
        "adapter_of_base": own_bytes / base_bytes,
    }
    print(json.dumps(told, indent=1))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(told | {"machine": machine()}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
