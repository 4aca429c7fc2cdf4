"""Where a run stands, kept so that a killed run goes on exactly where it was.

A checkpoint is one safetensors file written in one rename: parameters, the optimiser's moments, the best parameters so
far, and the position as JSON in its header. Nothing is pickled, and what does not have its own digest is not believed.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from tsugiki.adapt.tensors import tensor_digest
from tsugiki.errors import reason_of
from tsugiki.home import write_atomically
from tsugiki.i18n import warn


@dataclass(frozen=True)
class Position:
    """A point in a run.

    Args:
        epoch: epochs that are done.
        batch: batches of the next epoch that are done.
        step: steps that are done.
        train_s: seconds of training, validation not counted.
        best_score: best score on validation (0..1).
        best_loss: mean loss of that epoch.
        epochs_without_gain: since one that was better than those before it, the start left out.
        curve: (train_s, score) after each epoch, the start included.
        best: parameters of the best epoch.
    """

    epoch: int
    batch: int
    step: int
    train_s: float
    best_score: float
    best_loss: float
    epochs_without_gain: int
    curve: list[tuple[float, float]]
    best: dict[str, Tensor] = field(repr=False)

    @classmethod
    def start(cls, score: float, loss: float, model: nn.Module, prepared_s: float = 0.0) -> "Position":
        """Before the first step: what is not trained at all may be the best."""
        return cls(0, 0, 0, prepared_s, score, loss, 0, [(prepared_s, score)], _copy(model))

    def stepped(self, batch: int) -> "Position":
        """One step further."""
        return replace(self, batch=batch, step=self.step + 1)

    def spent(self, seconds: float) -> "Position":
        """With more time on the clock."""
        return replace(self, train_s=self.train_s + seconds)

    def scored(self, score: float, loss: float, model: nn.Module) -> "Position":
        """After an epoch and its validation."""
        better = (score, -loss) > (self.best_score, -self.best_loss)
        # Modules disturb the head that they start from before they help: the start is no pass to be measured by.
        gained = better or score > max((reached for _, reached in self.curve[1:]), default=-1.0)
        return replace(
            self,
            epoch=self.epoch + 1,
            batch=0,
            best_score=score if better else self.best_score,
            best_loss=loss if better else self.best_loss,
            epochs_without_gain=0 if gained else self.epochs_without_gain + 1,
            curve=[*self.curve, (self.train_s, score)],
            best=_copy(model) if better else self.best,
        )

    def restore_best(self, model: nn.Module) -> None:
        """Give a model the parameters of the best epoch."""
        model.load_state_dict(self.best)


@dataclass(frozen=True)
class Checkpoint:
    """The file of one run.

    Args:
        folder: of this and the other runs of one race.
        name: of the file, without its ending.
    """

    folder: Path
    name: str

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / f"{self.name}.safetensors"

    def save(self, model: nn.Module, optimiser: Any, schedule: Any, at: Position) -> None:
        """Write everything that the rest of the run depends on; a full disk costs the checkpoint, not the run."""
        moments = optimiser.state_dict()["state"]
        tensors = {f"model.{k}": v for k, v in _copy(model).items()}
        tensors |= {f"best.{k}": v for k, v in at.best.items()}
        for number, state in moments.items():
            tensors |= {f"moment.{number}.{k}": torch.as_tensor(v).detach().cpu().clone() for k, v in state.items()}
        position = {k: v for k, v in asdict(replace(at, best={})).items() if k != "best"}
        header = {"position": json.dumps(position), "schedule": json.dumps(schedule.last_epoch)}
        header["rates"] = json.dumps([group["lr"] for group in optimiser.param_groups])
        write_kept(self.path, tensors, header)

    def resume(self, model: nn.Module, optimiser: Any, schedule: Any) -> Position | None:
        """Put model, optimiser and schedule where the checkpoint left them; None where there is none of use."""

        def fits(tensors: dict[str, Tensor]) -> bool:
            wanted = _shapes(model.state_dict())
            return all(_shapes(_part(tensors, part)) == wanted for part in ("model", "best"))

        kept = read_kept(self.path, fits)
        if kept is None:
            return None
        header, tensors = kept
        model.load_state_dict(_part(tensors, "model"))
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _part(tensors, "moment").items():
            number, _, key = name.partition(".")
            state.setdefault(int(number), {})[key] = tensor
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
        schedule.last_epoch = json.loads(header["schedule"])
        for group, rate in zip(optimiser.param_groups, json.loads(header["rates"]), strict=True):
            group["lr"] = rate
        values = json.loads(header["position"])
        values["curve"] = [(seconds, score) for seconds, score in values["curve"]]
        return Position(**values, best=_part(tensors, "best"))

    def remove(self) -> None:
        """Forget the run."""
        self.path.unlink(missing_ok=True)


def write_kept(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> bool:
    """Keep tensors and a few texts in one file; False, with a warning, where the disk refuses."""
    content = {name: tensor.contiguous() for name, tensor in tensors.items()}
    data = save(content, metadata={**header, "digest": _digest(content, header)})
    try:
        write_atomically(path, data)
    except OSError as error:
        warn("train.not_kept", path=path, reason=reason_of(error))
        return False
    return True


def read_kept(path: Path, fits: Callable[[dict[str, Tensor]], bool]) -> tuple[dict[str, str], dict[str, Tensor]] | None:
    """What `write_kept` wrote; None where nothing is there, and with a warning where it is damaged or does not fit."""
    if not path.exists():
        return None
    try:
        with safe_open(str(path), "pt") as file:
            header: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError):
        header, tensors = {}, {}
    if header.pop("digest", None) == _digest(tensors, header) and fits(tensors):
        return header, tensors
    warn("train.checkpoint_damaged", path=path)
    return None


def _digest(tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> str:
    total = hashlib.sha256(json.dumps(dict(header), sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor_digest(tensor)}".encode())
    return total.hexdigest()


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
