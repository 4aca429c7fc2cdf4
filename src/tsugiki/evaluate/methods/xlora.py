"""X-LoRA (Buehler and Buehler 2024) through PEFT: a classifier weighs the LoRAs of all domains, token by token."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import peft
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tsugiki.base.model import Base, load_base
from tsugiki.evaluate.finetune import TRAINED, PooledClassifier, fit_classifier, predictor, save_trained, without_cache
from tsugiki.evaluate.measure import Clock
from tsugiki.evaluate.method import Job, Outcome, Predict
from tsugiki.evaluate.per_domain import DomainMethod, trained


class Xlora(DomainMethod):
    """LoRAs that were trained domain by domain, then a classifier over them and one head on all rows."""

    kind: Literal["xlora"] = "xlora"

    def fit(self, job: Job) -> Outcome:
        """Train the LoRAs, then what weighs them; domains are no longer named.

        Raises:
            RowsError: rows have no domains.
        """
        self.require(job)
        base = self.open_base(job)
        loras, loras_s = trained(self, job, base, _Whole(without_cache(base.model)))
        clock = Clock()
        num_trained, configs = loras.num_trained, loras.body.peft_config
        with TemporaryDirectory() as packages:
            _write_loras(loras.body, configs, Path(packages), torch.float32)
            loras.body.unload()
            model = _mixed(Path(packages), base, job)
        curve = fit_classifier(model, base, job, clock)
        train_s = loras_s + curve[-1][0]

        def save(folder: Path) -> None:
            _write_loras(model.body, configs, folder, job.dtype)
            save_trained(model, folder, job.dtype)

        return Outcome(
            variant=f"{len(loras.domains)} domains, rate {job.learning_rate:g}",
            curve=((train_s, curve[-1][1]),),
            num_trainable=num_trained + sum(tensor.numel() for tensor in model.trained().values()),
            train_s=train_s,
            cache_s=0.0,
            predict=predictor(model, base, job),
            save=save,
        )

    def load(self, folder: Path, job: Job) -> Predict:
        """All LoRAs, and what weighs them."""
        base = load_base(job.base, precision=job.precision)
        model = _mixed(folder, base, job)
        model.load_state_dict(load_file(folder / TRAINED), strict=False)
        return predictor(model.to(base.device, job.dtype), base, job)


class _Whole(nn.Module):
    """A body within a model, as where it has a task head.

    X-LoRA cuts all up to `model.` off the names of weights and takes each model to call its body so.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.model, self.config = body, body.config

    def forward(self, **named: Any) -> Any:
        """What the body gives."""
        return self.model(**named)


def _write_loras(body: nn.Module, configs: Mapping[str, Any], folder: Path, dtype: torch.dtype) -> None:
    """Each LoRA in a folder of its number, as PEFT writes it; X-LoRA takes them from there and from nowhere else."""
    for name, config in configs.items():
        config.save_pretrained(folder / name)
        ends = {f".{part}.{name}.weight": f".{part}.weight" for part in ("lora_A", "lora_B")}
        own = {n.removesuffix(e) + to: p for n, p in body.named_parameters() for e, to in ends.items() if n.endswith(e)}
        tensors = {n: p.detach().to(dtype).contiguous() for n, p in own.items()}
        save_file(tensors, folder / name / peft.utils.SAFETENSORS_WEIGHTS_NAME)


def _mixed(folder: Path, base: Base, job: Job) -> PooledClassifier:
    """A base with the LoRAs in the numbered folders, what weighs them as PEFT sets it up, and a head."""
    names = sorted((file.parent.name for file in folder.glob("*/adapter_config.json")), key=int)
    adapters = {name: str(folder / name) for name in names}
    config = peft.XLoraConfig(task_type="FEATURE_EXTRACTION", hidden_size=base.width, adapters=adapters)
    body: Any = peft.get_peft_model(_Whole(without_cache(base.model)), config)
    return PooledClassifier(body, base.width, len(job.labels)).to(base.device)
