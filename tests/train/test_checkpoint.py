import errno
import json
import logging
import os
import stat

import pytest
import torch
from safetensors.torch import save
from torch import nn

from tsugiki.train.checkpoint import Checkpoint, Position, read_kept, write_kept


def stepped(steps=3, seed=0):
    """A model, its optimiser and schedule after some steps."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Linear(3, 2)
    for parameter in model.parameters():
        nn.init.normal_(parameter, generator=generator)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 / (1 + step))
    for step in range(steps):
        further(model, optimiser, schedule, step)
    return model, optimiser, schedule


def further(model, optimiser, schedule, step):
    optimiser.zero_grad()
    model(torch.arange(6.0).reshape(2, 3) + step).square().sum().backward()
    optimiser.step()
    schedule.step()


def position_of(model):
    at = Position.start(0.5, float("inf"), model).stepped(1).spent(2.5).scored(0.75, 0.5, model)
    return at.stepped(4).spent(1.0)


@pytest.fixture
def kept(tmp_path):
    """A checkpoint that was saved, and what it was saved from."""
    checkpoint = Checkpoint(tmp_path / "run", "suffix")
    model, optimiser, schedule = stepped()
    checkpoint.save(model, optimiser, schedule, position_of(model))
    return checkpoint, model, optimiser, schedule


def test_what_is_resumed_takes_the_steps_that_would_have_been_taken(kept):
    checkpoint, model, optimiser, schedule = kept
    other = stepped(0, seed=1)
    at = checkpoint.resume(*other)
    for step in range(3, 7):
        further(model, optimiser, schedule, step)
        further(other[0], other[1], other[2], step)
    assert all(one.equal(two) for one, two in zip(model.parameters(), other[0].parameters(), strict=True))
    assert optimiser.param_groups[0]["lr"] == other[1].param_groups[0]["lr"] != 0.1
    assert at is not None and at.step == 2


def test_a_position_comes_back_whole(kept):
    checkpoint, model, _, _ = kept
    wanted, found = position_of(model), checkpoint.resume(*stepped(0))
    assert found is not None
    assert {**vars(found), "best": None} == {**vars(wanted), "best": None}
    assert all(found.best[name].equal(tensor) for name, tensor in wanted.best.items())
    assert (found.epoch, found.batch, found.step, found.train_s) == (1, 4, 2, 3.5)
    assert found.curve == [(0.0, 0.5), (2.5, 0.75)]


def test_a_position_before_the_first_step_and_with_an_infinite_loss_comes_back_too(tmp_path):
    model, optimiser, schedule = stepped(0)
    checkpoint = Checkpoint(tmp_path, "c")
    checkpoint.save(model, optimiser, schedule, Position.start(0.0, float("inf"), model))
    found = checkpoint.resume(*stepped(0, seed=2))
    assert found is not None and found.best_loss == float("inf") and found.step == 0


def test_where_nothing_is_kept_nothing_is_resumed_and_nothing_said(tmp_path, caplog):
    model, optimiser, schedule = stepped()
    before = [p.clone() for p in model.parameters()]
    assert Checkpoint(tmp_path, "none").resume(model, optimiser, schedule) is None
    assert all(p.equal(b) for p, b in zip(model.parameters(), before, strict=True)) and not caplog.messages


def test_a_checkpoint_is_for_its_owner_only_and_can_be_removed_twice(kept):
    checkpoint = kept[0]
    assert stat.S_IMODE(checkpoint.path.stat().st_mode) == 0o600
    checkpoint.remove()
    checkpoint.remove()
    assert not checkpoint.path.exists()


DAMAGES = {
    "cut": lambda content: content[: len(content) // 2],
    "cut by one byte": lambda content: content[:-1],
    "longer": lambda content: content + b"\0",
    "empty": lambda content: b"",
    "noise": lambda content: os.urandom(len(content)),
    "a bit of a tensor": lambda content: content[:-3] + bytes([content[-3] ^ 1]) + content[-2:],
    "a bit of a moment": lambda content: _flip(content, len(content) // 2 + 200),
    "another position": lambda content: content.replace(b'step\\": 2', b'step\\": 9'),
    "another name": lambda content: content.replace(b"model.bias", b"model.bios"),
    "a pickle": lambda content: b"\x80\x04\x95" + content,
    "without a digest": lambda content: save({"model.x": torch.zeros(1)}),
}


def _flip(content, at):
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_with_a_warning_and_changes_nothing(kept, caplog, damage):
    checkpoint = kept[0]
    content = checkpoint.path.read_bytes()
    damaged = DAMAGES[damage](content)
    assert damaged != content
    checkpoint.path.write_bytes(damaged)
    fresh = stepped(1, seed=3)
    before = [p.clone() for p in fresh[0].parameters()]
    assert checkpoint.resume(*fresh) is None
    assert all(p.equal(b) for p, b in zip(fresh[0].parameters(), before, strict=True))
    ((_, level, message),) = caplog.record_tuples
    assert level == logging.WARNING and str(checkpoint.path) in message


def test_a_checkpoint_of_another_model_is_set_aside_before_anything_is_copied(kept, caplog):
    other = nn.Linear(3, 5)
    before = [p.clone() for p in other.parameters()]
    optimiser = torch.optim.AdamW(other.parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1.0)
    assert kept[0].resume(other, optimiser, schedule) is None
    assert all(p.equal(b) for p, b in zip(other.parameters(), before, strict=True)) and len(caplog.messages) == 1


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(kept, monkeypatch, caplog):
    checkpoint, model, optimiser, schedule = kept
    before = checkpoint.path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    checkpoint.save(model, optimiser, schedule, position_of(model).stepped(5))
    assert "No space left" in caplog.messages[0]
    assert checkpoint.path.read_bytes() == before
    assert [path.name for path in checkpoint.folder.iterdir()] == ["suffix.safetensors"]


def test_what_is_kept_comes_back_and_what_does_not_fit_is_set_aside(tmp_path, caplog):
    path = tmp_path / "a" / "file"
    tensors = {"x": torch.arange(4.0).reshape(2, 2).T, "empty": torch.zeros(0, 3), "scalar": torch.tensor(1.5)}
    assert write_kept(path, tensors, {"note": json.dumps("é")})
    found = read_kept(path, lambda _: True)
    assert found is not None and found[0] == {"note": json.dumps("é")}
    assert all(found[1][name].equal(tensor) for name, tensor in tensors.items())
    assert read_kept(path, lambda tensors: "y" in tensors) is None and len(caplog.messages) == 1


def test_a_better_epoch_is_kept_by_value():
    model = nn.Linear(2, 2)
    at = Position.start(0.5, 1.0, model)
    with torch.no_grad():
        model.weight.fill_(7.0)
    better = at.scored(0.6, 1.0, model)
    worse = better.scored(0.6, 1.0, model)
    with torch.no_grad():
        model.weight.fill_(9.0)
    assert better.epochs_without_gain == 0 and worse.epochs_without_gain == 1
    assert not at.best["weight"].eq(7.0).any() and worse.best["weight"].eq(7.0).all()
    worse.restore_best(model)
    assert model.weight.eq(7.0).all()
