"""Any method of the PEFT library, from its configuration file."""

from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import field_validator

from tsugiki.base.model import Base, load_base
from tsugiki.evaluate.finetune import finetune, load_trained, own_base, predictor, save_trained, with_peft
from tsugiki.evaluate.method import Job, Method, Outcome, Predict


class Peft(Method):
    """What a configuration of PEFT describes, and a head.

    Args:
        title: what tables call it.
        config: as PEFT writes it, `{peft_type, ...}`.
    """

    kind: Literal["peft"] = "peft"
    title: str
    config: dict[str, Any]
    rates: ClassVar[tuple[float, ...]] = (3e-4, 1e-3, 3e-3)

    @field_validator("config")
    @classmethod
    def _known(cls, config: dict[str, Any]) -> dict[str, Any]:
        import peft

        try:
            peft.get_peft_config(dict(config))
        except (KeyError, TypeError) as error:
            raise ValueError(f"PEFT refuses it: {error}") from error
        return config

    @property
    def name(self) -> str:
        """`peft:` and the name of the file."""
        return f"peft:{self.title}"

    def open_base(self, job: Job) -> Base:
        """In float32, as full fine-tuning has it."""
        return own_base(job)

    def fit(self, job: Job) -> Outcome:
        """Train what PEFT adds, and the head."""
        adapt = partial(with_peft, config=self.config)
        return finetune(job, self.open_base(job), adapt, partial(save_trained, dtype=job.dtype))

    def load(self, folder: Path, job: Job) -> Predict:
        """Not merged, since not every method can be."""
        base = load_base(job.base, precision=job.precision)
        return predictor(load_trained(folder, base, partial(with_peft, config=self.config), job), base, job)
