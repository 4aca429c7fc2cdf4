from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.models import FAMILIES, LAYERS, WIDTH, inputs, tiny
from tsugiki.adapt.adapted import AdaptedModel, Graft
from tsugiki.adapt.forms.bottleneck import Bottleneck
from tsugiki.adapt.forms.low_rank import LowRank
from tsugiki.adapt.forms.scale import Scale
from tsugiki.base.anatomy import Anatomy, find_anatomy
from tsugiki.base.suffix import StandIn, layers_of, only_layers, run_states, trunk

BATCH: Any = inputs(batch=4, length=9)


def grafted(family: str, boundary: int, *, seed: int = 3) -> AdaptedModel:
    """A model with a vocabulary head and one adapter, `it`, that is no identity, from a boundary up."""
    model = tiny(family, head=True)
    adapted = AdaptedModel(model, find_anatomy(model))
    grafts = [Graft(boundary, "residual", Bottleneck(rank=4)), Graft(LAYERS - 1, "attention.output", LowRank(rank=2))]
    for layer in range(boundary, LAYERS):
        names = [site.name for site in adapted.anatomy.sites[layer]]
        grafts.append(Graft(layer, next(n for n in ("attention.value", "attention.qkv") if n in names), Scale()))
        grafts.append(Graft(layer, next(n for n in ("mlp.down", "mlp") if n in names), LowRank(rank=2)))
    adapted.attach("it", grafts)
    torch.manual_seed(seed)
    for tensor in adapted.tensors("it").values():
        tensor.data.add_(0.3 * torch.randn_like(tensor))
    return adapted


def prefix_state(adapted: AdaptedModel, boundary: int) -> Tensor:
    with torch.no_grad():
        return run_states(adapted.model, adapted.anatomy, **BATCH, keep=[boundary])[boundary]


def loss_of(logits: Tensor) -> Tensor:
    """A number that every logit of every token has its own share in."""
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    mask: Tensor = BATCH["attention_mask"]
    return (logits * weights * mask[..., None]).sum() / 100


def gradients(adapted: AdaptedModel, name: str = "it") -> dict[str, Tensor]:
    found = {}
    for key, tensor in adapted.tensors(name).items():
        assert tensor.grad is not None, key
        found[key], tensor.grad = tensor.grad, None
    return found


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for key in wanted:
        assert wanted[key].abs().max() > 1e-4, f"{key} has no gradient to compare"
        torch.testing.assert_close(found[key], wanted[key], rtol=1e-5, atol=1e-6)


def whole_run(adapted: AdaptedModel) -> tuple[Tensor, dict[str, Tensor]]:
    with adapted.using("it"):
        logits = adapted.model(**BATCH).logits
    loss_of(logits).backward()
    return logits.detach(), gradients(adapted)


def suffix_run(adapted: AdaptedModel, boundary: int) -> tuple[Tensor, dict[str, Tensor]]:
    state = prefix_state(adapted, boundary)
    with adapted.using("it"), only_layers(adapted.model, adapted.anatomy, boundary, LAYERS, state):
        logits = adapted.model(**BATCH).logits
    loss_of(logits).backward()
    return logits.detach(), gradients(adapted)


@pytest.mark.parametrize("boundary", [1, 2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_gradients_from_a_stored_state_are_those_of_the_whole_run(family, boundary):
    adapted = grafted(family, boundary)

    wanted, wanted_gradients = whole_run(adapted)
    found, found_gradients = suffix_run(adapted, boundary)

    assert torch.equal(found, wanted)
    assert_same(found_gradients, wanted_gradients)
    base = adapted.model(**BATCH).logits
    assert (found - base).abs().max() > 0.1, "the adapter does nothing, so nothing was compared"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_wrong_state_changes_the_logits(family):
    adapted = grafted(family, 2)
    wanted, _ = whole_run(adapted)

    state = prefix_state(adapted, 2).roll(1, 1)
    with torch.no_grad(), adapted.using("it"), only_layers(adapted.model, adapted.anatomy, 2, LAYERS, state):
        found = adapted.model(**BATCH).logits
    assert (found - wanted).abs().max() > 1e-2


# --- gradient checkpointing -------------------------------------------------------------------------------------------


def checkpointing(adapted: AdaptedModel) -> Counter[str]:
    """Switch it on, and count how often the last layer is run."""
    model: Any = adapted.model
    model.train()
    model.activation_checkpointing_enable()
    runs: Counter[str] = Counter()
    path = adapted.anatomy.site(LAYERS - 1, "attention.output").path
    watched = layers_of(model, adapted.anatomy)[-1].get_submodule(path)
    watched.register_forward_pre_hook(lambda *_: runs.update(["run"]))
    return runs


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_under_checkpointing_are_those_without_it(family):
    adapted = grafted(family, 2)
    wanted, wanted_gradients = whole_run(adapted)

    runs = checkpointing(adapted)
    found, found_gradients = whole_run(adapted)
    assert runs["run"] == 2, "nothing was run again, so nothing was checkpointed"
    assert torch.equal(found, wanted)
    assert_same(found_gradients, wanted_gradients)

    runs.clear()
    found, found_gradients = suffix_run(adapted, 2)
    assert runs["run"] == 2
    assert torch.equal(found, wanted)
    assert_same(found_gradients, wanted_gradients)


@pytest.mark.parametrize("later", [None, "other", (None, "other", "other", None)])
@pytest.mark.parametrize("family", ["llama", "gpt2", "modernbert", "deberta-v2"])
def test_a_route_that_changes_before_backward_does_not_change_the_gradients(family, later):
    adapted = grafted(family, 2)
    _, wanted = whole_run(adapted)
    adapted.attach("other", [Graft(3, "residual", Bottleneck(rank=4))])
    runs = checkpointing(adapted)

    with adapted.using("it"):
        loss = loss_of(adapted.model(**BATCH).logits)
    with adapted.using(later):
        loss.backward()

    assert runs["run"] == 2
    assert_same(gradients(adapted), wanted)
    assert all(tensor.grad is None for tensor in adapted.tensors("other").values())


@pytest.mark.parametrize("family", ["llama", "deberta-v2"])
def test_two_passes_under_two_routes_keep_theirs_until_both_go_backward(family):
    adapted = grafted(family, 2)
    adapted.attach("other", [Graft(2, "residual", Bottleneck(rank=4))], seed=9)
    for tensor in adapted.tensors("other").values():
        tensor.data.add_(0.3)

    def both() -> dict[str, Tensor]:
        losses = []
        for name in ("it", "other"):
            with adapted.using(name):
                losses.append(loss_of(adapted.model(**BATCH).logits))
        torch.stack(losses).sum().backward()
        return gradients(adapted) | {f"other {k}": v for k, v in gradients(adapted, "other").items()}

    wanted = both()
    runs = checkpointing(adapted)
    assert_same(both(), wanted)
    assert runs["run"] == 4


# --- states -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_up_to_a_state_and_one_from_a_state_give_the_states_of_the_whole_run(family):
    model = tiny(family)
    anatomy = find_anatomy(model)
    whole = run_states(model, anatomy, **BATCH, keep=range(LAYERS + 1))

    assert list(whole) == list(range(LAYERS + 1))
    for b in range(LAYERS + 1):
        assert torch.equal(run_states(model, anatomy, **BATCH, keep=[b])[b], whole[b])
        above = run_states(model, anatomy, **BATCH, keep=range(b, LAYERS + 1), boundary=b, state=whole[b])
        assert all(torch.equal(above[s], whole[s]) for s in range(b, LAYERS + 1))
        assert all((whole[b] - whole[s]).abs().max() > 1e-2 for s in range(b))


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_state_is_what_the_final_norm_reads(family, head):
    model = tiny(family, head=head)
    anatomy = find_anatomy(model)
    last = run_states(model, anatomy, **BATCH, keep=[LAYERS])[LAYERS]
    if anatomy.final_norm is not None:
        last = model.get_submodule(anatomy.final_norm)(last)
    assert torch.equal(last, trunk(model)(**BATCH)[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_states_of_a_row_do_not_depend_on_its_padding(family):
    model = tiny(family)
    anatomy = find_anatomy(model)
    padded: Any = inputs(batch=2, length=30)
    padded["attention_mask"][1, 2:] = 0  # far beyond every sliding window
    together = run_states(model, anatomy, **padded, keep=range(LAYERS + 1))
    alone = run_states(model, anatomy, padded["input_ids"][1:, :2], None, range(LAYERS + 1))
    for s in range(LAYERS + 1):
        assert together[s].isfinite().all()
        torch.testing.assert_close(together[s][1, :2], alone[s][0], rtol=1e-4, atol=1e-5)


def count_layers(model: nn.Module, anatomy: Anatomy) -> Counter[int]:
    ran: Counter[int] = Counter()
    for index, layer in enumerate(layers_of(model, anatomy)):
        layer.register_forward_hook(lambda *_, index=index: ran.update([index]))
    return ran


@pytest.mark.parametrize(("boundary", "exit"), [(0, 0), (0, 3), (1, 3), (4, 4)])
@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_layers_from_the_boundary_to_the_exit_are_run(family, boundary, exit):
    model = tiny(family)
    anatomy = find_anatomy(model)
    state = run_states(model, anatomy, **BATCH, keep=[boundary])[boundary] if boundary else None
    ran = count_layers(model, anatomy)
    run_states(model, anatomy, **BATCH, keep=[exit], boundary=boundary, state=state)
    assert ran == Counter(range(boundary, exit))


def test_a_state_is_differentiable_in_the_one_it_was_run_from():
    model = tiny("gemma3_text")
    anatomy = find_anatomy(model)
    state = run_states(model, anatomy, **BATCH, keep=[1])[1].requires_grad_()
    run_states(model, anatomy, **BATCH, keep=[3], boundary=1, state=state)[3].sum().backward()
    assert state.grad is not None and state.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("keep", "boundary", "given"),
    [([1], 2, True), ([1, 3], 2, True), ([3], 2, False)],
    ids=["below", "one below", "none"],
)
def test_a_state_that_cannot_be_run_from_the_boundary_is_refused(keep, boundary, given):
    model = tiny("bert")
    state = torch.zeros(4, 9, WIDTH) if given else None
    with pytest.raises(ValueError, match="boundary"):
        run_states(model, find_anatomy(model), **BATCH, keep=keep, boundary=boundary, state=state)


# --- what is left behind ----------------------------------------------------------------------------------------------


def hooks_of(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("fails", [False, True])
def test_stand_ins_and_hooks_are_gone_after_the_block(family, fails):
    model = tiny(family)
    anatomy = find_anatomy(model)
    own, before = list(layers_of(model, anatomy)), model(**BATCH)[0]
    state = run_states(model, anatomy, **BATCH, keep=[2])[2]

    if fails:
        with pytest.raises(ZeroDivisionError), only_layers(model, anatomy, 2, 3, state):
            assert [isinstance(layer, StandIn) for layer in layers_of(model, anatomy)] == [True, True, False, True]
            raise ZeroDivisionError
    else:
        with only_layers(model, anatomy, 2, 3, state):
            model(**BATCH)

    assert all(a is b for a, b in zip(layers_of(model, anatomy), own, strict=True))
    assert hooks_of(model) == 0
    assert torch.equal(model(**BATCH)[0], before)


@pytest.mark.parametrize("broken", [torch.zeros(4, 9, WIDTH + 1), torch.zeros(4, 9, WIDTH, dtype=torch.float64)])
def test_stand_ins_and_hooks_are_gone_after_a_run_that_fails(broken):
    model = tiny("llama")
    anatomy = find_anatomy(model)
    own = list(layers_of(model, anatomy))
    with pytest.raises(RuntimeError):
        run_states(model, anatomy, **BATCH, keep=[3], boundary=2, state=broken)
    assert all(a is b for a, b in zip(layers_of(model, anatomy), own, strict=True))
    assert hooks_of(model) == 0


def test_a_stand_in_owns_no_parameter_and_answers_for_the_attributes_of_its_layer():
    model: Any = tiny("gemma3_text")
    layer = model.layers[1]
    stand_in = StandIn(layer, returns_tuple=False)
    assert not list(stand_in.parameters()) and not list(stand_in.children())
    assert stand_in.self_attn is layer.self_attn
    with pytest.raises(AttributeError):
        _ = stand_in.no_such_thing
