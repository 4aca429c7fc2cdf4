"""Methods with a LoRA for each domain: what they learn, whom they answer, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tsugiki.base.model import load_base
from tsugiki.data.rows import Rows, Splits
from tsugiki.errors import RowsError
from tsugiki.evaluate.compare import compare
from tsugiki.evaluate.finetune import PooledClassifier, predictor
from tsugiki.evaluate.method import METHODS
from tsugiki.evaluate.serving import measure_serving
from tsugiki.tasks.kinds.classify import Classify
from tsugiki.train.config import read_config

LABELS = ("no", "yes")
NAMED = ("lora_per_task", "mixed_peft")
DOMAINS = (*NAMED, "xlora")
TEXTS = ("oil leak", "pump stuck", "motor noise", "hot valve", "loud belt", "the pump leaks")


def method(name):
    return METHODS.parse({"kind": name})


def crossed(number):
    """Every text in both domains, and the right label of one is the wrong one of the other."""
    rows = [(f"{TEXTS[i // 2 % len(TEXTS)]} {'abcd'[i // 12 % 4]}", i // 2 % 2, i % 2) for i in range(number)]
    labels = tuple(LABELS[(even + domain) % 2] for _, even, domain in rows)
    return Rows(tuple(text for text, *_ in rows), labels, domains=tuple(("ask.us", "tell us")[d] for *_, d in rows))


@pytest.fixture
def crossing(job, decoder_folder):
    own = {"train": crossed(48), "validation": crossed(24), "test": crossed(24), "task": Classify(labels=LABELS)}
    return job.model_copy(update={**own, "base": str(decoder_folder), "learning_rate": 3e-3, "epochs": 10})


def right(logits, job):
    return (logits.argmax(1) == job.task.targets(job.test.labels).numpy()).mean()


@pytest.mark.parametrize("base", ["base_folder", "decoder_folder"])
def test_named_domains_are_answered_apart_and_mixed_alike(base, crossing, folder, request):
    own = crossing.model_copy(update={"base": str(request.getfixturevalue(base))})
    outcome = method("lora_per_task").fit(own)
    one_by_one = outcome.predict(own.test)
    assert right(one_by_one, own) > 0.9 and outcome.curve[0][1] > 0.9
    outcome.save(folder)
    # The same weights: what is trained does not depend on how a batch is answered.
    mixed = method("mixed_peft").load(folder, own)(own.test)
    np.testing.assert_allclose(mixed, one_by_one, atol=1e-5)


@pytest.mark.parametrize("name", NAMED)
def test_a_domain_that_was_not_learnt_has_no_answer(name, crossing, folder):
    method(name).fit(crossing).save(folder)
    predict, some = method(name).load(folder, crossing), crossing.test.take(range(3))
    logits = predict(replace(some, domains=("ask.us", "nobody's", "")))
    assert logits[0].any() and not logits[1:].any()
    assert not predict(replace(some, domains=("x", "y", "z"))).any()


def test_a_domain_without_validation_rows_is_chosen_on_all_of_them(crossing):
    held = [i for i, domain in enumerate(crossing.validation.domains) if domain == "ask.us"]
    own = crossing.model_copy(update={"validation": crossing.validation.take(held)})
    assert method("lora_per_task").fit(own).predict(own.test)[1].any()


def test_parameters_of_all_domains_are_counted(crossing):
    once = crossing.model_copy(update={"epochs": 1})
    base = load_base(crossing.base, precision="fp32")
    linear = [m for m in base.model.modules() if isinstance(m, torch.nn.Linear)]
    head = 2 * base.width + 2
    named = 2 * (sum(8 * (m.in_features + m.out_features) for m in linear) + head)
    assert method("mixed_peft").fit(once).num_trainable == named
    # One number for each of two domains from a state, and a head for all of them.
    assert method("xlora").fit(once).num_trainable == named + 2 * base.width + 2 + head


def test_xlora_answers_without_names_from_loras_that_were_trained(crossing, folder):
    crossing = crossing.model_copy(update={"epochs": 2})
    outcome = method("xlora").fit(crossing)
    outcome.save(folder)
    predict = method("xlora").load(folder, crossing)
    unnamed = replace(crossing.test, domains=None)
    np.testing.assert_allclose(predict(unnamed), outcome.predict(crossing.test), atol=1e-4)
    saved = [load_file(folder / name / "adapter_model.safetensors") for name in "01"]
    assert all(tensor.any() for tensors in saved for tensor in tensors.values())


def test_loras_that_xlora_weighs_change_its_answers(crossing, folder):
    crossing = crossing.model_copy(update={"epochs": 2})
    method("xlora").fit(crossing).save(folder)
    before = method("xlora").load(folder, crossing)(crossing.test)
    for file in folder.glob("*/adapter_model.safetensors"):
        save_file({name: torch.zeros_like(tensor) for name, tensor in load_file(file).items()}, file)
    assert np.abs(method("xlora").load(folder, crossing)(crossing.test) - before).max() > 0.01


def test_tsugiki_has_modules_for_domains_and_is_told_none(crossing):
    config = read_config(settings={"data.illegible": "warn", "train.words": False, "placement.boundary": 2})
    settings = config.model_copy(update={"placement": config.placement.model_copy(update={"strategy": "top"})})
    outcome = METHODS.parse({"kind": "tsugiki", "config": settings}).fit(crossing)
    assert any("grouped" in tried.variant for tried in (outcome, *outcome.candidates))
    unnamed = replace(crossing.test, domains=None)
    np.testing.assert_array_equal(outcome.predict(unnamed), outcome.predict(crossing.test))


def test_what_answering_costs_is_measured_from_the_folder(crossing, folder):
    own = crossing.model_copy(update={"epochs": 1, "method": {"kind": "mixed_peft"}})
    method("mixed_peft").fit(own).save(folder)
    serving = measure_serving(own, folder)
    assert serving.latency_ms_p50 > 0 and serving.infer_flops > 0


# --- refused, before anything is trained -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOMAINS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_rows_without_domains_are_refused(name, split, crossing):
    own = crossing.model_copy(update={split: replace(getattr(crossing, split), domains=None)})
    for refuse in (method(name).require, method(name).fit):
        with pytest.raises(RowsError, match="--domains") as caught:
            refuse(own)
        assert method(name).name in str(caught.value)


@pytest.mark.parametrize("base", ["base_folder", "decoder_folder"])
def test_xlora_answers_as_a_lora_where_all_of_them_are_one(base, crossing, folder, request):
    """Whatever weights its classifier gives, which add up to one, the mean of equal LoRAs is each of them."""
    own = crossing.model_copy(update={"base": str(request.getfixturevalue(base)), "epochs": 1})
    method("xlora").fit(own).save(folder)
    files = sorted(folder.glob("*/adapter_model.safetensors"))
    tensors = load_file(files[0])
    for file in files:
        save_file({name: tensor.clone() for name, tensor in tensors.items()}, file)
    mixed = method("xlora").load(folder, own)(own.test)
    loaded, settings = load_base(own.base, precision="fp32"), method("xlora").config
    for name in (name for name in tensors if name.endswith("lora_A.weight")):
        down, up = tensors[name], tensors[name.replace("lora_A", "lora_B")]
        place = name.rpartition("model.")[2].removesuffix(".lora_A.weight")
        loaded.model.get_submodule(place).weight.data += up @ down * settings["lora_alpha"] / settings["r"]
    classifier = PooledClassifier(loaded.model, loaded.width, 2)
    classifier.load_state_dict(load_file(folder / "trained.safetensors"), strict=False)
    np.testing.assert_allclose(mixed, predictor(classifier, loaded, own)(own.test), atol=1e-4)


def test_a_comparison_refuses_before_the_first_run(base_folder, tmp_path):
    parts = [replace(rows, domains=None) for rows in (crossed(48), crossed(24), crossed(24))]
    config = read_config(settings={"data.illegible": "warn", "precision": "fp32"})
    asked = {"methods": ["tfidf", "xlora"], "out": tmp_path, "base": str(base_folder), "config": config}
    with pytest.raises(RowsError):
        compare(Splits(*parts), dataset="d", **asked)
    assert not (tmp_path / "runs").exists()
