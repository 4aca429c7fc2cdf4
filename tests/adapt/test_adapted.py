import itertools
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tests.support.models import FAMILIES, LAYERS, inputs, tiny
from tsugiki.adapt.adapted import AdaptedModel, Graft
from tsugiki.adapt.forms.bottleneck import Bottleneck
from tsugiki.adapt.forms.low_rank import LowRank
from tsugiki.adapt.forms.scale import Scale
from tsugiki.base.anatomy import find_anatomy
from tsugiki.base.suffix import layers_of
from tsugiki.errors import BaseModelError, RoutingError

BATCH = inputs(batch=4, length=9)
# Three adapters that share sites, and have some to themselves.
GRAFTS = {
    "a": [Graft(1, "residual", Bottleneck(rank=3)), Graft(2, "attention.output", LowRank(rank=2))],
    "b": [Graft(1, "residual", Bottleneck(rank=5)), Graft(3, "attention.output", Scale())],
    "c": [Graft(2, "attention.output", LowRank(rank=4)), Graft(3, "attention.output", Scale())],
}


def adapted_model(family: str = "llama", names: str = "abc", model: nn.Module | None = None) -> AdaptedModel:
    model = model or tiny(family)
    adapted = AdaptedModel(model, find_anatomy(model))
    for name in names:
        attach(adapted, name)
    return adapted


def attach(adapted: AdaptedModel, name: str) -> None:
    """Attach one of `GRAFTS` with tensors that belong to its name."""
    adapted.attach(name, GRAFTS[name])
    generator = torch.Generator().manual_seed(ord(name))
    for tensor in adapted.tensors(name).values():
        tensor.data.add_(0.5 * torch.randn(tensor.shape, generator=generator))


@torch.no_grad()
def run(adapted: AdaptedModel, route: Any, batch: dict[str, Tensor] = BATCH) -> Tensor:
    with adapted.using(route) as model:
        found: Tensor = model(**batch)[0]
    return found


@torch.no_grad()
def base_output(family: str = "llama", batch: dict[str, Tensor] = BATCH) -> Tensor:
    found: Tensor = tiny(family)(**batch)[0]
    return found


# --- the base is left as it is ----------------------------------------------------------------------------------------


def inner_state(model: nn.Module) -> dict[str, Any]:
    """All that a module holds: attributes by identity, hooks by their keys."""
    found: dict[str, Any] = {}
    for path, module in model.named_modules():
        for key, value in vars(module).items():
            is_own = isinstance(value, dict) and key.startswith("_")
            found[f"{path}.{key}"] = {k: id(v) for k, v in value.items()} if is_own else id(value)
    return found


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_detaching_restores_the_base_exactly(family, checkpointed):
    model: Any = tiny(family)
    if checkpointed:
        model.train().activation_checkpointing_enable()
    wanted, before = model(**BATCH)[0], inner_state(model)

    adapted = adapted_model(model=model)
    assert inner_state(model) != before
    with adapted.using(["a", None, "b", "c"]):
        assert not torch.equal(model(**BATCH)[0], wanted)
    with adapted.using("a"):
        model(**BATCH)[0].sum().backward()
    assert adapted.detach() is model

    assert inner_state(model) == before
    assert torch.equal(model(**BATCH)[0], wanted)
    assert adapted.names == [] and not adapted.banks


@pytest.mark.parametrize("family", FAMILIES)
def test_with_no_adapter_chosen_the_base_answers_bit_for_bit(family):
    adapted, wanted = adapted_model(family), base_output(family)
    assert torch.equal(run(adapted, None), wanted)
    assert torch.equal(run(adapted, [None] * 4), wanted)
    with torch.no_grad():
        assert torch.equal(adapted.model(**BATCH)[0], wanted)
    for name in "abc":
        assert not torch.allclose(run(adapted, name), wanted, atol=1e-2)


def test_attached_but_fresh_adapters_are_the_base():
    adapted = adapted_model(names="")
    for name, grafts in GRAFTS.items():
        adapted.attach(name, grafts)
        assert torch.equal(run(adapted, name), base_output())


@pytest.mark.parametrize("family", ["phi3", "gpt2", "modernbert"])
def test_a_module_on_a_slice_changes_its_channels_and_no_other(family):
    model = tiny(family)
    adapted = AdaptedModel(model, find_anatomy(model))
    for site in [site for site in adapted.anatomy.sites[0] if site.fused]:
        projection = layers_of(model, adapted.anatomy)[0].get_submodule(site.path)
        seen: list[Tensor] = []
        adapted.attach(site.name, [Graft(0, site.name, Scale())])
        adapted.tensors(site.name)[f"0.{site.name}.scale"].data.fill_(1.0)
        watching = projection.register_forward_hook(lambda *call, seen=seen: seen.append(call[-1]))
        plain, doubled = run(adapted, None), run(adapted, site.name)
        watching.remove()
        own = slice(site.start, site.start + site.out_width)
        wanted = seen[0].clone()
        wanted[..., own] *= 2
        assert torch.equal(seen[1], wanted) and not torch.equal(seen[1], seen[0])
        assert not torch.equal(plain, doubled)


# --- routes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_one_adapter_per_row_equals_each_alone_and_null_rows_keep_the_base(family):
    adapted = adapted_model(family)
    alone = {name: run(adapted, name) for name in "abc"} | {None: base_output(family)}
    for route in (["a", "b", "c", None], ["c", None, "c", "a"], ["b", "b", "b", "b"]):
        found = run(adapted, route)
        for row, name in enumerate(route):
            wanted = alone[name][row]
            if name is None and family != "mixtral":
                assert torch.equal(found[row], wanted)
            # An adapter on the whole batch is one product, on some of its rows another: the last bits may differ.
            torch.testing.assert_close(found[row], wanted, rtol=1e-5, atol=2e-5)


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations("abc"),
    route=st.lists(st.sampled_from(["a", "b", "c", None]), min_size=4, max_size=4),
)
def test_the_order_of_attaching_changes_nothing(order, route):
    first, second = adapted_model(names="abc"), adapted_model(names="".join(order))
    assert second.names == list(order)
    torch.testing.assert_close(run(second, route), run(first, route), rtol=1e-5, atol=1e-5)
    for name in "abc":
        assert torch.equal(run(second, name), run(first, name))


def test_the_order_of_its_grafts_does_not_change_an_adapter():
    found = []
    for grafts in itertools.permutations([*GRAFTS["a"], Graft(0, "mlp.up", LowRank(rank=1))]):
        adapted = adapted_model(names="")
        adapted.attach("it", grafts, seed=5)
        found.append({key: tensor.clone() for key, tensor in adapted.tensors("it").items()})
    assert len(found[0]) == 3 + 2 + 2
    assert all(f.keys() == found[0].keys() and all(torch.equal(f[k], found[0][k]) for k in f) for f in found)


def test_a_new_adapter_moves_neither_tensors_nor_outputs_of_the_others():
    adapted = adapted_model(names="ab")
    tensors = {key: tensor.clone() for key, tensor in adapted.tensors("a").items()}
    outputs = {name: run(adapted, name) for name in "ab"}
    attach(adapted, "c")
    assert all(torch.equal(tensor, tensors[key]) for key, tensor in adapted.tensors("a").items())
    assert all(torch.equal(run(adapted, name), outputs[name]) for name in "ab")


def test_a_bank_that_is_cast_answers_with_what_it_then_holds():
    adapted = AdaptedModel(tiny("bert"), find_anatomy(tiny("bert")))
    adapted.attach("a", [Graft(0, "mlp.up", LowRank(rank=2))])
    (bank,) = adapted.banks.values()
    bank.double()
    held = dict(bank.named_parameters())
    assert {p.dtype for p in bank.params("a").values()} == {torch.float64}
    assert all(any(p is other for other in held.values()) for p in bank.params("a").values())


def test_an_adapter_can_go_while_others_stay():
    adapted = adapted_model()
    wanted = {name: run(adapted, name) for name in "ac"}
    adapted.remove("b")
    assert adapted.names == ["a", "c"]
    assert all(torch.equal(run(adapted, name), wanted[name]) for name in "ac")
    torch.testing.assert_close(run(adapted, ["a", "c", None, "c"])[1], wanted["c"][1], rtol=1e-5, atol=1e-5)
    assert torch.equal(run(adapted, None), base_output())
    attach(adapted, "b")
    assert adapted.names == ["a", "c", "b"]
    assert all(torch.equal(run(adapted, name), wanted[name]) for name in "ac")


@pytest.mark.parametrize("route", ["a", ["a", None, "b", "b"], [{"b": 0.5, "a": 0.5}] * 4])
def test_an_adapter_that_the_route_in_force_names_cannot_be_removed(route):
    adapted = adapted_model()
    wanted = run(adapted, route)
    with adapted.using(route), pytest.raises(RoutingError) as error:
        adapted.remove("a")
    assert error.value.code == "routing.in_use" and "'a'" in str(error.value)
    assert torch.equal(run(adapted, route), wanted)
    adapted.remove("a")
    assert adapted.names == ["b", "c"]


def test_blocks_nest_and_give_back_what_was_chosen_also_after_an_exception():
    adapted = adapted_model()
    alone = {name: run(adapted, name) for name in "ab"}

    def now() -> Tensor:
        with torch.no_grad():
            found: Tensor = adapted.model(**BATCH)[0]
        return found

    with adapted.using("a"):
        assert torch.equal(now(), alone["a"])
        with adapted.using("b"):
            assert torch.equal(now(), alone["b"])
            with adapted.using(None):
                assert torch.equal(now(), base_output())
            assert torch.equal(now(), alone["b"])
        with pytest.raises(ZeroDivisionError), adapted.using("b"):
            raise ZeroDivisionError
        assert torch.equal(now(), alone["a"])
    assert torch.equal(now(), base_output())


def test_a_forward_pass_that_fails_leaves_no_route_behind():
    adapted = adapted_model()
    for route, batch in (("a", {"input_ids": torch.tensor([[10**6]])}), (["a"] * 3, BATCH)):
        with pytest.raises((IndexError, RoutingError)):
            run(adapted, route, batch)
        assert torch.equal(run(adapted, None), base_output())
        assert not torch.equal(run(adapted, "b"), base_output())


def test_a_hook_of_the_user_that_fails_does_not_freeze_the_route():
    model = tiny("llama")
    failing = [True]

    def fail(*_: Any) -> None:
        if failing[0]:
            raise ZeroDivisionError

    model.register_forward_pre_hook(fail)
    adapted = adapted_model(model=model)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            run(adapted, "a")
    failing[0] = False
    wanted = adapted_model()
    assert torch.equal(run(adapted, "b"), run(wanted, "b"))
    assert torch.equal(run(adapted, "a"), run(wanted, "a"))


def test_a_layer_run_by_itself_follows_the_block_it_is_run_in():
    adapted = adapted_model(names="a")
    layer, x = layers_of(adapted.model, adapted.anatomy)[1], torch.randn(1, 3, 32)
    model: Any = adapted.model
    rotary = model.rotary_emb(x, torch.arange(3)[None])

    def alone() -> Tensor:
        found: Tensor = layer(x, position_embeddings=rotary)
        return found

    plain = alone()
    run(adapted, "a")
    assert torch.equal(alone(), plain)
    with adapted.using("a"):
        assert not torch.equal(alone(), plain)
    assert torch.equal(alone(), plain)


# --- what is refused --------------------------------------------------------------------------------------------------


def refused(code: str) -> Any:
    class Checked:
        def __enter__(self) -> None:
            self.raises = pytest.raises(RoutingError)
            self.info = self.raises.__enter__()

        def __exit__(self, *exception: Any) -> bool:
            caught = bool(self.raises.__exit__(*exception))
            assert self.info.value.code == code and str(self.info.value)
            return caught

    return Checked()


@pytest.mark.parametrize("names", ["x", ["a", "x", None, None], ["x"]])
def test_an_adapter_that_is_not_attached_is_refused(names):
    adapted = adapted_model()
    with refused("routing.unknown"), adapted.using(names):
        pass
    for call in (adapted.remove, adapted.tensors):
        with refused("routing.unknown"):
            call("x")
    assert adapted.names == ["a", "b", "c"]


@pytest.mark.parametrize("route", [["a"], ["a", None, None], [None] * 5, []])
def test_a_route_of_other_rows_than_the_batch_is_refused(route):
    with refused("routing.rows"):
        run(adapted_model(), route)


def test_a_name_that_is_taken_is_refused_and_the_first_one_stays():
    adapted = adapted_model()
    wanted = run(adapted, "a")
    with refused("routing.name_taken"):
        adapted.attach("a", GRAFTS["c"])
    assert torch.equal(run(adapted, "a"), wanted)


def test_two_modules_of_one_adapter_at_one_site_are_refused():
    adapted = adapted_model(names="")
    with refused("routing.twice"):
        adapted.attach("it", [Graft(1, "residual", Bottleneck(rank=2)), Graft(1, "residual", Scale())])
    assert adapted.names == []


@pytest.mark.parametrize("fault", ["site", "tensor"])
def test_an_adapter_that_cannot_be_attached_leaves_nothing_behind(fault):
    model = tiny("llama")
    before = inner_state(model)
    adapted = AdaptedModel(model, find_anatomy(model))
    if fault == "site":
        with pytest.raises(BaseModelError):
            adapted.attach("it", [Graft(0, "residual", Scale()), Graft(LAYERS, "residual", Scale())])
    else:
        with pytest.raises(KeyError):
            adapted.attach("it", [Graft(0, "residual", Scale())], {"1.residual.scale": torch.zeros(1, 32)})
    assert adapted.names == [] and not adapted.banks and inner_state(model) == before


# --- tensors ----------------------------------------------------------------------------------------------------------


def test_tensors_go_back_in_under_another_name():
    adapted = adapted_model()
    saved = {key: tensor.detach().clone() for key, tensor in adapted.tensors("a").items()}
    assert set(saved) == {f"1.residual.{p}" for p in ("down", "bias", "up")} | {
        f"2.attention.output.{p}" for p in ("down", "up")
    }
    adapted.attach("again", GRAFTS["a"], saved)
    assert torch.equal(run(adapted, "again"), run(adapted, "a"))


def test_the_tensors_an_adapter_was_attached_with_are_not_trained_along():
    adapted = adapted_model(names="")
    given_tensors = {"0.residual.scale": torch.ones(1, 32)}
    adapted.attach("it", [Graft(0, "residual", Scale())], given_tensors)
    adapted.tensors("it")["0.residual.scale"].data.add_(1.0)
    assert torch.equal(given_tensors["0.residual.scale"], torch.ones(1, 32))


@pytest.mark.parametrize(
    ("one", "other"),
    [("v1.0", "v1·0"), ("v1.0", "v1%2E0"), ("a", "of a"), ("keys", "pop"), ("請求", "請.求"), ("", " ")],
)
def test_names_that_look_alike_or_like_a_method_are_told_apart(one, other):
    adapted = adapted_model(names="")
    for value, name in enumerate((one, other)):
        adapted.attach(name, [Graft(0, "residual", Scale())])
        adapted.tensors(name)["0.residual.scale"].data.fill_(float(value))
    assert torch.equal(run(adapted, one), base_output()) and not torch.equal(run(adapted, other), base_output())
    adapted.remove(other)
    assert torch.equal(run(adapted, one), base_output())


# --- two on one model -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("first_to_go", [0, 1])
def test_two_adapted_models_on_one_model_do_not_disturb_each_other(checkpointed, first_to_go):
    model: Any = tiny("llama")
    if checkpointed:
        model.train().activation_checkpointing_enable()
    before = inner_state(model)
    pair = [adapted_model(names="a", model=model), adapted_model(names="b", model=model)]
    wanted = [run(adapted_model(), "a"), run(adapted_model(), "b")]

    for number, name in enumerate("ab"):
        one, other = pair[number], pair[1 - number]
        assert torch.equal(run(one, name), wanted[number])
        with one.using(name):
            assert torch.equal(run(other, None), wanted[number])
            model(**BATCH)[0].sum().backward()
        assert all(tensor.grad is not None for tensor in one.tensors(name).values())
        if number == 0:
            assert all(tensor.grad is None for tensor in other.tensors("b").values())

    stays = pair[1 - first_to_go]
    pair[first_to_go].detach()
    assert torch.equal(run(stays, stays.names[0]), wanted[1 - first_to_go])
    stays.detach()
    assert inner_state(model) == before


# --- reruns inside backward -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False])
def test_a_rerun_in_backward_whose_route_is_not_known_is_refused(whole):
    adapted = adapted_model("bert", names="a")
    model: Any = adapted.model
    x = model.embeddings(BATCH["input_ids"]).requires_grad_()

    def part(hidden: Tensor) -> Tensor:
        found: Tensor = model.encoder.layer[1](hidden)
        return found

    def all_of_it(embedded: Tensor) -> Tensor:
        found: Tensor = model(inputs_embeds=embedded)[0]
        return found

    with adapted.using("a"):
        loss = checkpoint(all_of_it if whole else part, x, use_reentrant=False).sum()
    with refused("routing.recompute"):
        loss.backward()


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_a_weight_that_is_not_a_number_is_refused_and_the_route_stays(weight):
    adapted = adapted_model()
    adapted.use("a")
    with pytest.raises(RoutingError) as error:
        adapted.use([{"a": weight}] * 4)
    assert error.value.code == "routing.weight" and "'a'" in str(error.value)
    assert torch.equal(run(adapted, "a"), adapted.model(**BATCH)[0])
