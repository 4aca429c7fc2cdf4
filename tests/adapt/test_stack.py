import torch
from torch import nn

from tests.adapt.test_adapted import GRAFTS, adapted_model, attach, run
from tests.support.models import inputs, tiny
from tsugiki.adapt.adapted import AdaptedModel, Graft
from tsugiki.adapt.forms.low_rank import LowRank
from tsugiki.adapt.stack import Stack
from tsugiki.base.anatomy import find_anatomy

FORM = LowRank(rank=2)


def modules(number: int, learning: bool = False) -> list[dict[str, nn.Parameter]]:
    generator = torch.Generator().manual_seed(0)
    shapes = FORM.shapes(4, 6).items()
    return [
        {name: nn.Parameter(torch.randn(shape, generator=generator), learning) for name, shape in shapes}
        for _ in range(number)
    ]


def num_bytes(params: list[dict[str, nn.Parameter]]) -> int:
    """Memory behind some parameters, what they share counted once."""
    storages = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for own in params for p in own.values()}
    return sum(storages.values())


def test_a_stack_holds_each_number_once_and_takes_none_that_changed_for_another():
    params = modules(3)
    before, values = num_bytes(params), [{k: p.detach().clone() for k, p in own.items()} for own in params]
    stack = Stack(FORM, [0, 1, 2], params)
    held = stack.params
    assert num_bytes(params) == before
    assert {p.untyped_storage().data_ptr() for own in params for p in own.values()} == {
        t.untyped_storage().data_ptr() for t in held.values()
    }
    assert all(torch.equal(held[k][at], own[k]) for at, own in enumerate(values) for k in own)
    params[1]["up"].data += 1
    assert torch.equal(stack.params["up"][1], values[1]["up"] + 1)


def test_parameters_that_were_given_other_memory_are_stacked_anew():
    params = modules(2)
    stack = Stack(FORM, [0, 1], params)
    assert stack.params["up"].any()
    params[0]["up"].data = torch.zeros(2, 6)
    assert not stack.params["up"][0].any() and stack.params["up"][1].any()


def test_what_was_stacked_in_inference_mode_can_still_learn():
    params = modules(2, learning=True)
    with torch.inference_mode():
        assert Stack(FORM, [0, 1], params).params["up"].shape == (2, 2, 6)
    assert not any(p.is_inference() for own in params for p in own.values())
    params[0]["up"].square().sum().backward()
    torch.optim.AdamW([params[0]["up"]]).step()


def test_the_gradient_reaches_what_learns():
    params = modules(2, learning=True)
    Stack(FORM, [0, 1], params).params["up"][1].sum().backward()
    first, second = (own["up"].grad for own in params)
    assert first is not None and second is not None and second.all() and not first.any()


def test_rows_may_have_several_adapters_by_their_weights():
    adapted = adapted_model()
    mixed = run(adapted, [{"a": 1.0}, {"b": 1.0, "c": 0.0}, {}, None])
    torch.testing.assert_close(mixed, run(adapted, ["a", "b", None, None]), rtol=1e-5, atol=1e-5)
    both = run(adapted, [{"a": 0.5, "b": 1.0}] * 4)
    assert not torch.allclose(both, run(adapted, "a")) and not torch.allclose(both, run(adapted, "b"))


def test_an_adapter_that_joins_leaves_the_tensors_and_the_answers_of_the_others_as_they_are_to_the_bit():
    model = tiny("bert")
    adapted = AdaptedModel(model, find_anatomy(model))
    for name in "ab":
        adapted.attach(name, [Graft(2, "attention.output", FORM)], seed=ord(name))
        for tensor in adapted.tensors(name).values():
            tensor.data.add_(0.1)
    batch = inputs(batch=4, length=9)
    before, kept = run(adapted, ["a", "b", None, "b"], batch), adapted.tensors("a")
    values = {name: tensor.detach().clone() for name, tensor in kept.items()}
    adapted.attach("c", [Graft(2, "attention.output", FORM)])
    assert torch.equal(run(adapted, ["a", "b", None, "b"], batch), before)
    assert all(torch.equal(adapted.tensors("a")[name], value) for name, value in values.items())


def test_an_adapter_that_leaves_takes_nothing_of_the_others_along():
    adapted = adapted_model()
    before = run(adapted, ["a", "b", "b", "a"])
    adapted.remove("c")
    torch.testing.assert_close(run(adapted, ["a", "b", "b", "a"]), before, rtol=1e-5, atol=1e-5)
    attach(adapted, "c")
    assert set(adapted.names) == set(GRAFTS)
