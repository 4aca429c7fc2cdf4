"""Groups beside modules that always act: each pass equals what its decisions say, module by module."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.runs import tiny_base
from tsugiki.adapt.adapted import AdaptedModel, Graft
from tsugiki.adapt.form import FORMS
from tsugiki.adapt.gates import POOLED, Gates, gate_shapes
from tsugiki.adapt.groups import Group, Groups
from tsugiki.adapt.reader import mean_pool
from tsugiki.adapt.router import ROUTERS
from tsugiki.base.suffix import run_states
from tsugiki.errors import RoutingError

SITES = ("attention.query", "mlp.up", "mlp.down")
FORM = FORMS.parse({"kind": "low_rank", "rank": 4})
GRAFTS = tuple(Graft(layer, site, FORM) for layer in (2, 3) for site in SITES)
IDS = torch.tensor([[5, 6, 7, 8, 9], [9, 8, 7, 0, 0], [11, 12, 13, 14, 0]])
MASK = (IDS > 0).long()


def grown(domains=("a", "b"), others=0, route_by="sequence", router="threshold", family="bert", **rule):
    """A base with modules and groups that are no longer fresh."""
    base = tiny_base(family)
    adapted = AdaptedModel(base.model, base.anatomy)
    adapted.attach("it", GRAFTS, seed=7)
    groups = [Group(domain, GRAFTS) for domain in (*domains, *[None] * others)]
    widths = {f"{g.layer}.{g.site}": base.anatomy.site(g.layer, g.site).in_width for g in GRAFTS}
    gates = Gates.fresh(len(domains), gate_shapes(route_by, len(domains), len(groups), base.width, widths), seed=3)
    found = Groups(adapted, "it", groups, gates, ROUTERS.parse({"kind": router, **rule}), boundary=2, seed=1)
    torch.manual_seed(5)
    for tensor in (*adapted.tensors("it").values(), *found.tensors().values(), *gates.parameters()):
        tensor.data += 0.3 * torch.randn_like(tensor)
    return base, adapted, found


def states(found, ids=IDS, mask=MASK, **asked):
    with torch.no_grad():
        return found.run(ids, mask, (2, 4), **asked)


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_domains_that_are_given_act_as_routes_that_name_their_modules(family):
    base, adapted, found = grown(family=family)
    told, _ = states(found, domains=torch.tensor([1, -1, 0]))
    route = [{"it": 1.0, "it/1": 1.0}, {"it": 1.0}, {"it": 1.0, "it/0": 1.0}]
    with torch.no_grad(), adapted.using(route):
        wanted = run_states(base.model, base.anatomy, IDS, MASK, (4,))
    torch.testing.assert_close(told[4][MASK.bool()], wanted[4][MASK.bool()], atol=1e-4, rtol=1e-4)


def test_domains_that_are_to_be_found_are_those_the_gate_finds_more_likely_than_not():
    base, adapted, found = grown(others=1)
    told, gating = states(found)
    with torch.no_grad():
        clean = run_states(base.model, base.anatomy, IDS, MASK, (2,))[2]
        scores = found.gates.scores(POOLED, mean_pool(clean, MASK))
    torch.testing.assert_close(gating.decisions[POOLED].scores, scores)
    assert ((scores[:, :2] > 0).sum(1) <= 1).all()
    weights = scores.clamp(0.0, 1.0)
    route = [{"it": 1.0, **{f"it/{g}": float(w) for g, w in enumerate(own) if w}} for own in weights]
    with torch.no_grad(), adapted.using(route):
        wanted = run_states(base.model, base.anatomy, IDS, MASK, (4,))
    torch.testing.assert_close(told[4][MASK.bool()], wanted[4][MASK.bool()], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("rule", [{"router": "threshold"}, {"router": "top_k", "k": 2}, {"router": "softmax"}])
def test_gates_of_tokens_weigh_what_each_module_adds_to_each_token(rule):
    base, adapted, found = grown(domains=(), others=3, route_by="token", **rule)
    bank, key = adapted.banks[2, "mlp.up"], "2.mlp.up"
    x, y = torch.randn(*IDS.shape, base.width), torch.randn(*IDS.shape, bank.site.out_width)
    gating = found.gating(MASK)
    with torch.no_grad():
        got = gating.changed(key, bank, x, y.clone())
        weights = found.router.weights(found.gates.scores(key, x.flatten(0, 1))).unflatten(0, IDS.shape)
        wanted = y + bank.forms["it"].delta(bank.params("it"), x, y)
        for number in range(3):
            delta = FORM.delta(bank.params(f"it/{number}"), x, y)
            wanted = wanted + delta * weights[..., number : number + 1] * MASK[..., None]
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("route_by", ["sequence", "token"])
def test_a_row_is_answered_alike_alone_and_in_a_padded_batch(route_by):
    _, _, found = grown(others=2, route_by=route_by)
    together, _ = states(found)
    for row in range(len(IDS)):
        length = int(MASK[row].sum())
        alone, _ = states(found, IDS[row : row + 1, :length], MASK[row : row + 1, :length])
        torch.testing.assert_close(alone[4][0], together[4][row, :length], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("route_by", ["sequence", "token"])
def test_fresh_groups_change_nothing_and_learn(route_by):
    base = tiny_base()
    adapted = AdaptedModel(base.model, base.anatomy)
    adapted.attach("it", GRAFTS)
    widths = {f"{g.layer}.{g.site}": base.anatomy.site(g.layer, g.site).in_width for g in GRAFTS}
    gates = Gates.fresh(0, gate_shapes(route_by, 0, 2, base.width, widths), seed=3)
    found = Groups(adapted, "it", [Group(None, GRAFTS)] * 2, gates, ROUTERS.parse({"kind": "threshold"}), 2)
    told, gating = found.run(IDS, MASK, (4,))
    clean = run_states(base.model, base.anatomy, IDS, MASK, (4,))
    assert torch.equal(told[4], clean[4]) and gating.decisions
    told[4].square().sum().backward()
    for group in range(2):
        slope = found.tensors()[f"{group}.3.mlp.down.up"].grad
        assert slope is not None and float(slope.abs().sum()) > 0


def test_groups_start_from_draws_of_their_own():
    _, _, found = grown(domains=(), others=2)
    assert not torch.equal(found.tensors()["0.2.mlp.up.down"], found.tensors()["1.2.mlp.up.down"])


def test_gates_that_are_no_numbers_are_refused_before_anything_is_answered():
    _, _, found = grown()
    for parameter in found.gates.parameters():
        parameter.data[:] = float("nan")
    with pytest.raises(RoutingError) as error:
        states(found)
    assert error.value.code == "routing.score"


def test_where_all_gates_are_closed_the_modules_that_always_act_do_so_alone():
    base, adapted, found = grown(domains=(), others=2)
    for parameter in found.gates.parameters():
        parameter.data[:] = -1.0 if parameter.ndim == 1 else 0.0
    told, gating = states(found)
    assert not gating.decisions[POOLED].weights.any() and gating.decisions[POOLED].active() == 0.0
    with torch.no_grad(), adapted.using("it"):
        wanted = run_states(base.model, base.anatomy, IDS, MASK, (4,))
    torch.testing.assert_close(told[4][MASK.bool()], wanted[4][MASK.bool()], atol=1e-4, rtol=1e-4)


def test_a_group_that_the_route_in_force_names_cannot_be_removed():
    _, adapted, found = grown()
    with adapted.using(found.gating(MASK, torch.zeros(3, 32))), pytest.raises(RoutingError) as error:
        adapted.remove("it/1")
    assert error.value.code == "routing.in_use"


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(-30, 30, width=32), min_size=6, max_size=6), st.floats(0.01, 100))
def test_a_gate_reads_rows_on_one_scale(read, scale):
    gates = Gates.fresh(2, gate_shapes("sequence", 2, 3, 3, {}), seed=0)
    gates.tell({"weight": torch.eye(2, 3), "bias": torch.zeros(2)})
    rows = torch.tensor(read).reshape(2, 3)
    if float(rows.std(1).min()) < 1.0 or float((rows.std(1) * scale).min()) < 1.0:
        return
    torch.testing.assert_close(gates.scores(POOLED, rows), gates.scores(POOLED, rows * scale), atol=1e-3, rtol=1e-3)
