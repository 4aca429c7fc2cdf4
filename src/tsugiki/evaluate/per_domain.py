"""A LoRA and a head for each domain, trained on its rows alone: how one would go about domains with PEFT.

PEFT keeps all LoRAs in one body, of which one acts while it is trained. They are numbered there, since names of modules
must not hold what names of domains may.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

# Here, not where it is used: a worker imports before its clock runs.
import peft  # noqa: F401
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tsugiki.base.model import Base, load_base
from tsugiki.data.rows import Rows
from tsugiki.errors import RowsError
from tsugiki.evaluate.finetune import TRAINED, PooledClassifier, fit_classifier, with_peft, without_cache
from tsugiki.evaluate.lora import LoraMethod
from tsugiki.evaluate.measure import Clock
from tsugiki.evaluate.method import Job, Outcome, Predict
from tsugiki.train.domains import places_of


class DomainMethod(LoraMethod):
    """A method that begins with a LoRA for each domain."""

    # One more than for a single LoRA: the rows of one domain make fewer steps.
    rates: ClassVar[tuple[float, ...]] = (*LoraMethod.rates, 1e-2)

    def require(self, job: Job) -> None:
        """Every row must say from which domain it is, if only that it is from none.

        Raises:
            RowsError: rows have no domains.
        """
        if any(rows.domains is None for rows in (job.train, job.validation, job.test)):
            raise RowsError("evaluate.no_domains", method=self.name)


@dataclass(frozen=True)
class Loras:
    """The LoRAs of some domains on one body, with their heads.

    Args:
        base: that the body came of.
        domains: D names.
        classifiers: the body with the head of each of them (D).
    """

    base: Base
    domains: tuple[str, ...]
    classifiers: tuple[PooledClassifier, ...]

    @classmethod
    def fresh(cls, method: DomainMethod, base: Base, job: Job, domains: tuple[str, ...], body: nn.Module) -> "Loras":
        """One for each domain, none of which changes anything yet.

        Args:
            method: rank and alpha.
            base: of the body.
            job: its labels.
            domains: D names.
            body: the model of the base; is changed.
        """
        names = [str(number) for number in range(len(domains))]
        adapted = with_peft(without_cache(body), method.config, names).to(base.device)
        heads = [PooledClassifier(adapted, base.width, len(job.labels)).to(base.device) for _ in domains]
        return cls(base, domains, tuple(heads))

    @property
    def body(self) -> Any:
        """The model of PEFT that all of them share."""
        return self.classifiers[0].body

    def active(self, number: int, *, learns: bool = False) -> PooledClassifier:
        """The classifier of a domain, with its LoRA in action and no other."""
        if learns or self.body.active_adapter != str(number):
            self.body.set_adapter(str(number), inference_mode=not learns)
        return self.classifiers[number]

    def train(self, job: Job, clock: Clock) -> None:
        """Train each on the rows of its domain; where none of them is held out, all rows that are choose the epoch."""
        places, held = (places_of(rows.domains, self.domains, len(rows)) for rows in (job.train, job.validation))
        for number in range(len(self.domains)):
            asked = held == number if (held == number).any() else torch.ones_like(held, dtype=torch.bool)
            own = {"train": _taken(job.train, places == number), "validation": _taken(job.validation, asked)}
            fit_classifier(self.active(number, learns=True), self.base, job.model_copy(update=own), clock)
        for classifier in self.classifiers:
            classifier.eval()

    def grouped(self, rows: Rows) -> list[tuple[int, list[int]]]:
        """Number of each domain that rows name, and which rows do; those of no domain here are left out."""
        places = places_of(rows.domains, self.domains, len(rows))
        return [(int(n), (places == n).nonzero().squeeze(1).tolist()) for n in places.unique() if n >= 0]

    def tensors(self) -> dict[str, Tensor]:
        """All that is trained, by name."""
        modules = {name: p.detach() for name, p in self.body.named_parameters() if "lora_" in name}
        heads = [classifier.head.state_dict() for classifier in self.classifiers]
        return modules | {f"{n}.{name}": tensor for n, head in enumerate(heads) for name, tensor in head.items()}

    @property
    def num_trained(self) -> int:
        """Parameters of all LoRAs and heads."""
        return sum(tensor.numel() for tensor in self.tensors().values())

    def save(self, folder: Path, dtype: torch.dtype) -> None:
        """Write all of it in one file, in the precision in which it is served."""
        told = {"domains": json.dumps(self.domains, ensure_ascii=False)}
        save_file({k: v.to(dtype).contiguous() for k, v in self.tensors().items()}, folder / TRAINED, metadata=told)

    @classmethod
    def load(cls, method: DomainMethod, folder: Path, job: Job) -> "Loras":
        """Put what `save` wrote on a base."""
        with safe_open(folder / TRAINED, framework="pt") as file:
            domains = tuple(json.loads(file.metadata()["domains"]))
        base = load_base(job.base, precision=job.precision)
        found, tensors = cls.fresh(method, base, job, domains, base.model), load_file(folder / TRAINED)
        found.body.load_state_dict(tensors, strict=False)
        for number, classifier in enumerate(found.classifiers):
            classifier.head.load_state_dict({name: tensors[f"{number}.{name}"] for name in ("weight", "bias")})
            classifier.to(base.device, job.dtype).eval()
        return found


class NamedMethod(DomainMethod):
    """A LoRA for each domain, of which each row names its own when it is answered."""

    def predictor(self, loras: Loras, job: Job) -> Predict:
        """How rows that name their domain are answered."""
        raise NotImplementedError(type(self).__name__)

    def fit(self, job: Job) -> Outcome:
        """Train each domain apart.

        Raises:
            RowsError: rows have no domains.
        """
        self.require(job)
        base = self.open_base(job)
        loras, train_s = trained(self, job, base, base.model)
        predict = self.predictor(loras, job)
        return Outcome(
            variant=f"{len(loras.domains)} domains, rate {job.learning_rate:g}",
            curve=((train_s, job.validation_score(predict)),),
            num_trainable=loras.num_trained,
            train_s=train_s,
            cache_s=0.0,
            predict=predict,
            save=lambda folder: loras.save(folder, job.dtype),
        )

    def load(self, folder: Path, job: Job) -> Predict:
        """All of them on one base, not merged: another one may be wanted next."""
        return self.predictor(Loras.load(self, folder, job), job)


def trained(method: DomainMethod, job: Job, base: Base, body: nn.Module) -> tuple[Loras, float]:
    """A LoRA for each domain that a training row is from, and the seconds that all of them took."""
    torch.manual_seed(job.seed)
    clock = Clock()
    domains = tuple(sorted({domain for domain in job.train.domains or () if domain}))
    loras = Loras.fresh(method, base, job, domains, body)
    loras.train(job, clock)
    return loras, clock.seconds


def _taken(rows: Rows, chosen: Tensor) -> Rows:
    return rows.take(chosen.nonzero().squeeze(1).tolist())
