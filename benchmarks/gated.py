"""What it costs to let gates decide: no route, one group by sequence, the best two of eight groups for each token.

`python -m benchmarks.gated --models FOLDER --out FILE`. The built-in base on demo tickets, 1, 8 and 64 in a batch,
tokens made before, modules at all projections of the upper third of the layers with random numbers in them: `base`
alone; `null`, adapters attached and none chosen; `sequence`, a gate for whole inputs and one group of eight acting
beside modules that always act (rank 8, groups 4); `token`, two of eight groups for each token at each site beside the
same. Then eight adapters on one input: one after the other, over shared layers (boundary 5 of 6), and where all of them
only read states. Last X-LoRA of PEFT beside groups of the same number, rank and places on `stories3M` (it does not take
encoders). All variants of a part take turns; medians are compared.
"""

import argparse
import json
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from peft import LoraConfig, XLoraConfig, get_peft_model

from benchmarks.machine import machine
from benchmarks.serving import milliseconds
from tsugiki.adapt.adapted import AdaptedModel, Graft
from tsugiki.adapt.form import FORMS
from tsugiki.adapt.gates import Gates, gate_shapes
from tsugiki.adapt.groups import Group, Groups
from tsugiki.adapt.router import ROUTERS
from tsugiki.base.model import Base, load_base
from tsugiki.base.suffix import run_states
from tsugiki.base.tokens import encode, pad
from tsugiki.data.rows import read_splits

BATCHES, GROUPS, RANK, ADAPTERS, ROUNDS = (1, 8, 64), 8, 4, 8, 31


def timed(work: dict[str, Any]) -> dict[str, float]:
    """Milliseconds of each, without a gradient."""
    with torch.inference_mode():
        return milliseconds(work, [()], ROUNDS)


def tickets(base: Base, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of some demo tickets."""
    splits = read_splits(str(files("tsugiki") / "demo" / "tickets_en"))
    assert splits.train is not None
    return pad(encode(base, splits.train.texts[:number], 256))


def grafts(base: Base, boundary: int, rank: int) -> tuple[Graft, ...]:
    """Modules at all projections from a boundary up."""
    form = FORMS.parse({"kind": "low_rank", "rank": rank})
    return tuple(
        Graft(layer, site.name, form)
        for layer in range(boundary, base.num_layers)
        for site in base.anatomy.sites[layer]
        if site.path
    )


def grown(
    base: Base, route_by: Any, router: dict[str, Any], boundary: int, always_rank: int = 8
) -> tuple[AdaptedModel, Groups]:
    """Groups with random numbers in them; by sequence as many domains as groups, of which the gate knows each."""
    adapted = AdaptedModel(base.model, base.anatomy)
    adapted.attach("it", grafts(base, boundary, always_rank))
    own = grafts(base, boundary, RANK)
    domains = [str(n) if route_by == "sequence" else None for n in range(GROUPS)]
    sites = {f"{g.layer}.{g.site}": base.anatomy.site(g.layer, g.site).in_width for g in own}
    named = GROUPS if route_by == "sequence" else 0
    gates = Gates.fresh(named, gate_shapes(route_by, named, GROUPS, base.width, sites), seed=0).requires_grad_(False)
    found = Groups(adapted, "it", [Group(d, own) for d in domains], gates, ROUTERS.parse(router), boundary)
    for tensor in (*found.tensors().values(), *adapted.tensors("it").values()):
        tensor.data.normal_(std=0.02)
    if named:
        gates.tell({"weight": torch.randn(GROUPS, base.width), "bias": torch.zeros(GROUPS)})
    return adapted, found


def routes() -> dict[str, Any]:
    """Milliseconds by batch and route."""
    bare, free, by_row, by_token = (load_base(None, precision="fp32") for _ in range(4))
    boundary, last = 2 * bare.num_layers // 3, bare.num_layers
    unused = AdaptedModel(free.model, free.anatomy)
    unused.attach("it", grafts(free, boundary, 8))
    _, sequence = grown(by_row, "sequence", {"kind": "top_k"}, boundary)
    _, tokens = grown(by_token, "token", {"kind": "top_k", "k": 2}, boundary)
    found = {}
    for number in BATCHES:
        ids, mask = tickets(bare, number)
        seen = None if bool(mask.all()) else mask

        def plain(base: Base, ids: Any = ids, seen: Any = seen) -> Any:
            return lambda: run_states(base.model, base.anatomy, ids, seen, (last,))

        work = {
            "base": plain(bare),
            "null": plain(free),
            "sequence": lambda ids=ids, mask=mask: sequence.run(ids, mask, (last,)),
            "token": lambda ids=ids, mask=mask: tokens.run(ids, mask, (last,)),
        }
        found[str(number)] = timed(work)
    return found


def eight() -> dict[str, Any]:
    """Milliseconds of eight adapters on one input, one after the other and over what they share."""
    base = load_base(None, precision="fp32")
    last = base.num_layers
    adapted = AdaptedModel(base.model, base.anatomy)
    for number in range(ADAPTERS):
        adapted.attach(str(number), grafts(base, last - 1, 8), seed=number)
        for tensor in adapted.tensors(str(number)).values():
            tensor.data.normal_(std=0.02)
    names = [str(number) for number in range(ADAPTERS)]
    ids, _ = tickets(base, 1)
    together = ids.expand(ADAPTERS, -1)

    def run(ids: Any, keep: Any, **below: Any) -> Any:
        return run_states(base.model, base.anatomy, ids, None, keep, **below)

    def each() -> None:
        for name in names:
            with adapted.using(name):
                run(ids, (last,))

    def shared() -> None:
        clean = run(ids, (last - 1,))[last - 1]
        with adapted.using(names):
            run(together, (last,), boundary=last - 1, state=clean.expand(ADAPTERS, -1, -1).contiguous())

    def readers() -> None:
        run(ids, (2, 4, last))

    return timed({"each": each, "shared": shared, "readers": readers})


def xlora(models: Path) -> dict[str, Any]:
    """Milliseconds of X-LoRA and of groups beside the base alone, batches of 1 and 8."""
    folder = str(models / "stories3M")
    bare, own, other = (load_base(folder, precision="fp32", head=True) for _ in range(3))
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    with TemporaryDirectory() as place:
        for number in range(GROUPS):
            spare = load_base(folder, precision="fp32", head=True)
            lora = LoraConfig(r=RANK, target_modules=names, init_lora_weights=False, task_type="CAUSAL_LM")
            get_peft_model(spare.model, lora).save_pretrained(f"{place}/{number}")
        config = XLoraConfig(
            task_type="CAUSAL_LM",
            hidden_size=other.width,
            adapters={str(n): f"{place}/{n}" for n in range(GROUPS)},
            xlora_depth=1,
            top_k_lora=2,
        )
        settings: Any = other.model.config
        settings.use_cache = False
        model = get_peft_model(other.model, config).eval()
    adapted, groups = grown(own, "token", {"kind": "top_k", "k": 2}, 0, always_rank=1)
    found = {}
    for number in (1, 8):
        ids = torch.randint(4, 4_000, (number, 64))
        mask = torch.ones_like(ids)

        def routed(ids: Any = ids, mask: Any = mask) -> None:
            with adapted.using(groups.gating(mask)):
                adapted.model(input_ids=ids, use_cache=False)

        work: dict[str, Any] = {
            "base": lambda ids=ids: bare.model(input_ids=ids, use_cache=False),
            "groups": routed,
            "x-lora": lambda ids=ids, mask=mask: model(input_ids=ids, attention_mask=mask),
        }
        found[str(number)] = timed(work)
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    found: dict[str, Any] = {"routes_ms": routes(), "eight_ms": eight(), "xlora_ms": xlora(options.models)}
    found["routes_times"] = {
        batch: {name: ms / told["base"] for name, ms in told.items()} for batch, told in found["routes_ms"].items()
    }
    told = found["eight_ms"]
    found["eight_faster"] = {"shared": told["each"] / told["shared"], "readers": told["each"] / told["readers"]}
    found["xlora_faster"] = {batch: told["x-lora"] / told["groups"] for batch, told in found["xlora_ms"].items()}
    found["machine"] = machine()
    print(json.dumps(found, indent=1))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
