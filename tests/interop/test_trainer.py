"""Grafted models under the loops of other libraries: transformers' Trainer and TRL's SFTTrainer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, load_model
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

import tsugiki
from tests.adapt.test_grafted import classifier, learning
from tests.support.bases import tokenizer
from tests.support.models import inputs, tiny
from tests.support.runs import easy_rows
from tsugiki.adapt.package import load_package
from tsugiki.export import export, format_of

pytestmark = pytest.mark.interop


class Batches(Dataset[dict[str, Any]]):
    """Random rows whose class is the kind of their first token."""

    def __len__(self):
        return 24

    def __getitem__(self, i):
        ids = inputs(1, 6, seed=i)["input_ids"][0]
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": int(ids[0] > 32)}


def arguments(folder: Path, **more):
    usual = {"per_device_train_batch_size": 4, "max_steps": 4, "learning_rate": 0.01, "save_steps": 2, "use_cpu": True}
    quiet = {"report_to": [], "disable_tqdm": True, "logging_strategy": "no", "dataloader_pin_memory": False}
    return {"output_dir": str(folder), **usual, **quiet, **more}


def trainer(model, folder, **more):
    return Trainer(model=model, args=TrainingArguments(**arguments(folder, **more)), train_dataset=Batches())


def trained(model):
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def logits(model):
    with torch.no_grad():
        return model.eval()(**inputs()).logits


@pytest.fixture
def run(tmp_path):
    model = classifier()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    grafted = tsugiki.graft(model, boundary=2)
    done = trainer(model, tmp_path / "out")
    done.train()
    return grafted, done, before


def test_the_base_stands_still_and_modules_and_head_learn(run):
    grafted, _, before = run
    after = grafted.model.state_dict()
    moved = {name for name, tensor in before.items() if not torch.equal(after[name], tensor)}
    assert moved == {"classifier.weight", "classifier.bias"}
    assert all(p.grad is None for n, p in grafted.model.named_parameters() if n not in learning(grafted.model))
    assert all(after[name].any() for name in after if name.startswith("tsugiki."))


def test_what_the_trainer_saves_is_no_base_and_loads_onto_a_grafted_one(run, tmp_path):
    grafted, done, _ = run
    done.save_model(str(tmp_path / "saved"))
    kept = load_file(tmp_path / "saved" / "model.safetensors")
    assert kept.keys() == learning(grafted.model)
    fresh = classifier()
    tsugiki.graft(fresh, boundary=2, seed=1)
    load_model(fresh, tmp_path / "saved" / "model.safetensors", strict=False)
    assert torch.equal(logits(fresh), logits(grafted.model))


def test_a_run_that_was_stopped_goes_on_where_it_was(run, tmp_path, caplog):
    grafted, _, _ = run
    again = classifier()
    tsugiki.graft(again, boundary=2, seed=1)
    with torch.no_grad():
        again.classifier.weight.zero_()
    trainer(again, tmp_path / "again").train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    assert "missing keys" not in caplog.text
    for name, tensor in trained(grafted.model).items():
        torch.testing.assert_close(trained(again)[name], tensor)


def test_checkpoints_of_layers_change_no_step(run, tmp_path):
    grafted, _, _ = run
    again = classifier()
    tsugiki.graft(again, boundary=2)
    trainer(again, tmp_path / "again", activation_checkpointing=True).train()
    for name, tensor in trained(grafted.model).items():
        torch.testing.assert_close(trained(again)[name], tensor)


def test_a_package_holds_what_the_trainer_taught(run, tmp_path):
    grafted, _, _ = run
    grafted.save(tmp_path / "billing", tokenizer())
    expected = logits(grafted.model)
    adapted = tsugiki.attach(grafted.detach(), tmp_path / "billing")
    assert not torch.allclose(logits(adapted.model), expected)
    with adapted.using("billing"):
        assert torch.equal(logits(adapted.model), expected)


# TRL still asks transformers by the old name.
@pytest.mark.filterwarnings("ignore:.gradient_checkpointing. is deprecated:FutureWarning:transformers.training_args")
def test_trl_teaches_a_decoder_which_then_goes_to_peft(tmp_path):
    trl = pytest.importorskip("trl", reason="trl is not installed")
    from datasets import Dataset as Table
    from peft import PeftModel

    reader = tokenizer()
    reader.eos_token = "[SEP]"
    model = tiny("llama", head=True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    grafted = tsugiki.graft(model, boundary=2)
    own = trl.SFTConfig(**arguments(tmp_path / "out", max_length=16))
    rows = Table.from_dict({"text": list(easy_rows(24).texts)})
    done = trl.SFTTrainer(model=model, args=own, train_dataset=rows, processing_class=reader)
    done.train()
    after = model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(after[name].any() for name in learning(model))
    assert load_file(tmp_path / "out" / "checkpoint-4" / "model.safetensors").keys() == learning(model)

    grafted.save(tmp_path / "billing", reader)
    plain: Any = tiny("llama", head=True)
    plain.save_pretrained(tmp_path / "base")
    reader.save_pretrained(tmp_path / "base")
    export(load_package(tmp_path / "billing"), format_of("peft"), tmp_path / "peft", str(tmp_path / "base"))
    lora = PeftModel.from_pretrained(plain, str(tmp_path / "peft"))
    assert not torch.allclose(logits(lora.base_model.model), logits(tiny("llama", head=True)))
    untouched = tiny("llama", head=True)
    adapted = tsugiki.attach(untouched, tmp_path / "billing")
    with adapted.using("billing"):
        torch.testing.assert_close(logits(lora), logits(adapted.model), rtol=1e-4, atol=1e-4)
