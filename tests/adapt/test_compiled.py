"""A base that was compiled, and a base with more adapters than anybody has."""

from typing import Any

import pytest
import torch
import torch._dynamo.config

from tests.support.models import tiny
from tsugiki.adapt.adapted import AdaptedModel, Graft
from tsugiki.adapt.forms.low_rank import LowRank
from tsugiki.base.anatomy import find_anatomy


@pytest.mark.parametrize("before", [False, True], ids=["compiled after", "compiled before"])
def test_a_compiled_base_answers_as_the_route_says(before):
    torch._dynamo.reset()
    model = tiny("bert")
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    # Without code for a machine, which takes minutes and changes nothing about what is traced.
    compiled: Any = torch.compile(model, backend="eager")
    with torch.no_grad():
        if before:
            torch._dynamo.config.skip_nnmodule_hook_guards = True
            compiled(input_ids=ids)
        adapted = AdaptedModel(model, find_anatomy(model))
        grafts = [Graft(2, "mlp.up", LowRank(rank=4)), Graft(3, "mlp.down", LowRank(rank=4))]
        for name in ("a", "b"):
            adapted.attach(name, grafts)
            for tensor in adapted.tensors(name).values():
                tensor.data.normal_(std=0.3)
        routes: list[Any] = [None, "a", "b", ["b", None], [{"a": 0.5}, "b"], "a", None]
        for route in routes:
            with adapted.using(route):
                found, wanted = compiled(input_ids=ids)[0], model(input_ids=ids)[0]
            torch.testing.assert_close(found, wanted)


def test_a_thousand_adapters_stand_on_one_base_and_each_row_finds_its_own():
    model = tiny("bert")
    adapted = AdaptedModel(model, find_anatomy(model))
    for number in range(1_000):
        adapted.attach(str(number), [Graft(3, "mlp.up", LowRank(rank=4))], seed=number)
        for tensor in adapted.tensors(str(number)).values():
            tensor.data.normal_(std=0.3)
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]])
    names = ["7", "999", "500"]
    with torch.no_grad(), adapted.using(names):
        together = model(input_ids=ids)[0]
    for row, name in enumerate(names):
        with torch.no_grad(), adapted.using(name):
            torch.testing.assert_close(together[row], model(input_ids=ids[row : row + 1])[0][0])
