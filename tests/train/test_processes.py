"""Several processes take the same steps as one."""

import socket

import pytest
from safetensors.torch import load_file

from tests.support import victim
from tests.support.runs import easy_splits, tiny_base
from tsugiki.base.tokens import encode

# Dropout is drawn by process, so there is none.
SETTINGS = {"module_dropout": 0.0, "batch_rows": 7, "epochs": 2, "patience": 99}


def trained(folder, world, rows=48, **settings):
    """Tensors of two plans by rank."""
    run_together(folder, world, victim.train_plans_together, rows, settings)
    return [
        {plan: load_file(folder / f"suffix-{plan}-4-{rank}.safetensors") for plan in (1, 2)} for rank in range(world)
    ]


def run_together(folder, world, work, rows=48, settings=None):
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
    started = [
        victim.start(
            work,
            str(folder / "run"),
            rows,
            {**SETTINGS, **(settings or {})},
            str(folder),
            # As torchrun and `accelerate launch` have it.
            environment={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} if world > 1 else {},
        )
        for rank in range(world)
    ]
    assert [victim.finish(process) for process in started] == [0] * world


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSUGIKI_HOME", str(tmp_path_factory.mktemp("home")))
        return trained(tmp_path_factory.mktemp("alone") / "run", 1)[0]


def farthest(one, other):
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_two_processes_end_with_the_tensors_of_one(alone, tmp_path):
    together = trained(tmp_path / "two", 2)
    for plan in (1, 2):
        assert farthest(together[0][plan], together[1][plan]) == 0.0
        assert farthest(together[0][plan], alone[plan]) < 1e-5


def test_a_process_without_a_row_of_a_batch_takes_part_all_the_same(tmp_path):
    settings = {"batch_rows": 1, "epochs": 1}
    one = trained(tmp_path / "one", 1, 6, **settings)[0]
    two = trained(tmp_path / "two", 2, 6, **settings)[0]
    assert farthest(one[2], two[2]) < 1e-5


def test_processes_whose_shares_have_unequal_numbers_of_parts_agree_as_well(tmp_path):
    settings = {"batch_rows": 99, "epochs": 2}
    rows, base = easy_splits(51).train, tiny_base()
    most = base.step_tokens // max(map(len, encode(base, rows.texts, base.max_length)))
    assert -(-26 // most) > -(-25 // most)
    one = trained(tmp_path / "one", 1, 51, **settings)[0]
    two = trained(tmp_path / "two", 2, 51, **settings)[0]
    for plan in (1, 2):
        # Adam makes much of gradients next to zero, which another order of summing changes in their last digits.
        assert farthest(one[plan], two[plan]) < 5e-4


@pytest.mark.parametrize("work", [victim.train_groups_together, victim.train_domains_together])
def test_processes_agree_on_groups_also_where_one_has_no_row_for_them(work, tmp_path):
    folder = tmp_path / "two"
    run_together(folder, 2, work, settings={"batch_rows": 1, "epochs": 1})
    one, other = (load_file(folder / f"grouped-{rank}.safetensors") for rank in range(2))
    assert farthest(one, other) == 0.0 and float(one["groups.1.2.residual.up"].abs().max()) > 1e-3


def test_the_tensors_are_those_of_more_than_one_step_and_of_two_plans(alone):
    assert float(alone[2]["modules.2.residual.up"].abs().max()) > 1e-3
    assert "modules.1.residual.up" in alone[1] and "modules.1.residual.up" not in alone[2]


def test_two_processes_that_keep_checkpoints_leave_one_result_for_each_plan(tmp_path):
    trained(tmp_path / "two", 2, 6, checkpoint_s=1e-9)
    kept = sorted(path.name for path in (tmp_path / "two" / "run").iterdir())
    assert kept == ["suffix-1-4.done.safetensors", "suffix-2-4.done.safetensors"]
