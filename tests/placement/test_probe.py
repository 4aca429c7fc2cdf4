import copy

import pytest
import torch

from tests.support.models import LAYERS
from tests.support.runs import TASK, easy_rows, labelled, tiny_base
from tsugiki.adapt.adapted import AdaptedModel, Graft
from tsugiki.base.suffix import run_states
from tsugiki.placement.evidence import RANKS
from tsugiki.placement.probe import Probe, quarters_of
from tsugiki.placement.sketch import Sketch
from tsugiki.train.survey import head_fitter


@pytest.fixture
def base(own_home):
    return tiny_base()


def probed(base, rows, seed=0):
    cached = labelled(base, rows)
    quarters = quarters_of(rows.labels, seed)
    return Probe(base, cached.rows, cached.targets, TASK, head_fitter(TASK), quarters, seed)


def test_quarters_are_disjoint_hold_every_row_and_every_class():
    rows = easy_rows(48)
    quarters = quarters_of(rows.labels, 0)
    assert sorted(row for quarter in quarters for row in quarter) == list(range(48))
    for quarter in quarters:
        assert {rows.labels[row] for row in quarter} == set(rows.labels)


def test_every_site_and_exit_has_evidence_and_the_base_stays_as_it_was(base):
    before = copy.deepcopy(base.model.state_dict())
    found = probed(base, easy_rows(64)).run()
    assert set(found.gains) == {(layer, site.name) for layer, own in enumerate(base.anatomy.sites) for site in own}
    assert all(len(gains) == len(RANKS) and gains[0] >= 0 for gains in found.gains.values())
    assert len(found.exits) == len(found.scores) == LAYERS and found.num_rows == 64
    assert all(0 <= score <= 1 for score in found.scores) and -1 <= found.reliability <= 1
    assert all(tensor.equal(before[name]) for name, tensor in base.model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in base.model.modules())
    assert not any(p.requires_grad or p.grad is not None for p in base.model.parameters())


def test_equal_seeds_find_equal_evidence(base):
    rows = easy_rows(32)
    one, other = (probed(base, rows, seed=3).run() for _ in range(2))
    assert one.gains == other.gains and one.exits == other.exits


def test_labels_that_hang_on_nothing_rank_no_site_and_those_that_hang_on_the_text_do(base):
    rows, told, noise = easy_rows(96), [], []
    for seed in range(4):
        order = torch.randperm(96, generator=torch.Generator().manual_seed(seed)).tolist()
        told.append(probed(base, rows, seed).run())
        noise.append(probed(base, type(rows)(rows.texts, tuple(rows.labels[at] for at in order)), seed).run())
    assert min(max(found.scores) for found in told) > max(max(found.scores) for found in noise) + 0.2
    assert sum(found.reliability for found in told) > sum(found.reliability for found in noise) + 1
    assert sum(found.is_reliable for found in noise) == 0


def test_a_probe_that_fails_leaves_the_base_without_a_hook(base, monkeypatch):
    monkeypatch.setattr(Probe, "_backward", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        probed(base, easy_rows(32)).run()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in base.model.modules())


def test_a_sketch_changes_no_state_and_its_gradient_is_that_of_the_weight_in_its_directions(base):
    place, ids = (1, "mlp.up"), torch.randint(3, 40, (5, 7), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    clean = run_states(base.model, base.anatomy, ids, mask, [LAYERS])[LAYERS]
    adapted = AdaptedModel(base.model, base.anatomy)
    adapted.attach("probe", [Graft(*place, Sketch(rank=6))])
    params = adapted.banks[place].params("probe")
    weight = base.model.encoder.layer[1].intermediate.dense.weight
    try:
        weight.requires_grad_(True)
        params["up"].requires_grad_(True)
        with adapted.using("probe"):
            state = run_states(base.model, base.anatomy, ids, mask, [LAYERS])[LAYERS]
        assert state.equal(clean)
        state.square().sum().backward()
        assert params["up"].grad is not None
        assert torch.allclose(params["up"].grad, params["down"].detach().T @ weight.grad.T, rtol=1e-4, atol=1e-4)
    finally:
        weight.requires_grad_(False)
        weight.grad = None
        adapted.detach()


def test_a_whitened_sketch_is_the_same_in_any_units():
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    gradients = torch.randn(50, 3, generator=torch.Generator().manual_seed(2))

    def whitened(scale_in, scale_out):
        sketch = Sketch(rank=4)
        up = torch.zeros(4, 3, requires_grad=True)
        narrow = scale_in * x[None]
        delta = sketch.delta({"down": torch.eye(4), "up": up}, narrow, torch.zeros(1, 50, 3))
        (delta * (scale_out * gradients)[None]).sum().backward()
        assert up.grad is not None
        return sketch.whitened(up.grad)

    assert torch.allclose(whitened(1.0, 1.0), whitened(7.0, 0.01), rtol=1e-3, atol=1e-3)
