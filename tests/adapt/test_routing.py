import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.adapt.routing import Routing
from tsugiki.errors import RoutingError


@st.composite
def choices(draw: st.DrawFn) -> tuple[list[int | None], int]:
    modules = draw(st.integers(1, 6))
    return draw(st.lists(st.none() | st.integers(0, modules - 1), max_size=12)), modules


@given(choices())
def test_pairs_are_those_given_and_sorted_by_module(drawn):
    modules, count = drawn
    routing = Routing.one_each(modules, count)
    pairs = list(zip(routing.rows.tolist(), routing.modules.tolist(), strict=True))
    assert sorted(pairs) == [(row, module) for row, module in enumerate(modules) if module is not None]
    assert pairs == sorted(pairs, key=lambda pair: (pair[1], pair[0]))
    assert routing.weights.tolist() == [1.0] * len(pairs)
    assert routing.rows.dtype is routing.modules.dtype is torch.int64
    assert (routing.num_rows, routing.num_modules) == (len(modules), count)
    assert routing.is_null is all(module is None for module in modules)


@given(choices())
def test_groups_cover_every_routed_row_once_and_name_each_module_once(drawn):
    modules, count = drawn
    groups = Routing.one_each(modules, count).groups()
    assert [module for module, _, _ in groups] == sorted({m for m in modules if m is not None})
    assert sorted(row for _, rows, _ in groups for row in rows.tolist()) == [
        row for row, module in enumerate(modules) if module is not None
    ]
    for module, rows, weights in groups:
        assert all(modules[row] == module for row in rows.tolist())
        assert len(rows) == len(weights) > 0


@given(choices(), st.randoms(use_true_random=False))
def test_renumbering_modules_renumbers_the_groups_and_nothing_else(drawn, chance):
    modules, count = drawn
    new = chance.sample(range(count), count)
    plain = {module: rows.tolist() for module, rows, _ in Routing.one_each(modules, count).groups()}
    renumbered = Routing.one_each([None if m is None else new[m] for m in modules], count).groups()
    assert {module: rows.tolist() for module, rows, _ in renumbered} == {new[m]: rows for m, rows in plain.items()}


def test_no_row_at_all_is_a_null_routing():
    routing = Routing.one_each([], 3)
    assert routing.is_null and routing.groups() == [] and routing.rows.shape == (0,)


@pytest.mark.parametrize("module", [3, -1, 100])
def test_a_module_that_is_not_there_is_refused(module):
    with pytest.raises(RoutingError) as error:
        Routing.one_each([0, module], 3)
    assert error.value.code == "routing.no_module" and "0..2" in str(error.value)


def test_the_task_gate_leaves_rows_alone_whose_adapter_has_no_module_here():
    routing = Routing.named(["b", None, "elsewhere", "a", "b"], ["a", "b"])
    assert [(m, rows.tolist()) for m, rows, _ in routing.groups()] == [(0, [3]), (1, [0, 4])]
    assert (routing.num_rows, routing.num_modules) == (5, 2)
