"""Every method learns from a job and answers alike once it is saved and loaded."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tsugiki.base.model import load_base
from tsugiki.data.rows import Rows
from tsugiki.errors import ConfigError, MissingError
from tsugiki.evaluate.finetune import own_base
from tsugiki.evaluate.method import METHODS, Job, parse_methods
from tsugiki.evaluate.per_domain import DomainMethod
from tsugiki.tasks.kinds.classify import Classify
from tsugiki.tasks.kinds.grade import Grade
from tsugiki.tasks.kinds.tag import Tag
from tsugiki.train.config import read_config

IA3 = {"peft_type": "IA3", "target_modules": ["query", "dense"], "feedforward_modules": ["dense"]}
PROMPTS = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 3, "task_type": "SEQ_CLS"}


def method(name: str):
    # The tiny tokenizer knows a few dozen words.
    ours = read_config(settings={"data.illegible": "warn"})
    own: dict[str, Any] = {"peft": {"title": "ia3", "config": IA3}, "tsugiki": {"config": ours}}
    return METHODS.parse({"kind": name, **own.get(name, {})})


def job_for(job: Job, found) -> Job:
    return job.model_copy(update={"learning_rate": found.rates[0] if found.rates else None})


@pytest.fixture
def job_of(job, decoder_folder):
    """A job that the method of a name can do: with domains, on a decoder, where it asks for these."""

    def found(name):
        own = job_for(job, method(name))
        if not issubclass(METHODS.load(name), DomainMethod):
            return own
        domains = {"train": ("desk", "shop") * 12, "validation": ("desk", "shop") * 6, "test": ("desk", "shop") * 6}
        named = {split: replace(getattr(own, split), domains=found) for split, found in domains.items()}
        return own.model_copy(update={**named, "base": str(decoder_folder)})

    return found


@pytest.mark.parametrize("name", METHODS.names())
def test_a_method_that_is_saved_and_loaded_answers_the_same(name, job_of, folder):
    found, own = method(name), job_of(name)
    outcome = found.fit(own)
    logits = outcome.predict(own.test)
    assert logits.shape == (12, 3)
    outcome.save(folder)
    np.testing.assert_allclose(found.load(folder, own)(own.test), logits, atol=2e-2)


@pytest.mark.parametrize("name", METHODS.names())
def test_curves_rise_and_end_with_the_seconds_of_training(name, job_of):
    outcome = method(name).fit(job_of(name))
    seconds, scores = zip(*outcome.curve, strict=True)
    assert list(seconds) == sorted(seconds)
    assert list(scores) == sorted(scores)
    assert seconds[-1] == pytest.approx(outcome.train_s)
    assert 0 <= outcome.cache_s < outcome.train_s


@pytest.mark.parametrize("name", ["full", "lora", "mixed_peft", "probe_all", "xlora"])
def test_bfloat16_is_answered_alike_after_loading(name, job_of, folder):
    found = method(name)
    own = job_of(name).model_copy(update={"precision": "bf16"})
    outcome = found.fit(own)
    outcome.save(folder)
    # Training keeps float32 weights; serving has them in bfloat16.
    np.testing.assert_allclose(found.load(folder, own)(own.test), outcome.predict(own.test), atol=0.15)


def test_equal_seeds_give_equal_answers(job):
    own = job_for(job, method("bias"))
    first, second = (method("bias").fit(own).predict(own.test) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_what_is_trained_is_counted(job):
    base = load_base(job.base, precision="fp32")
    head = 3 * base.width + 3
    counted = {name: method(name).fit(job_for(job, method(name))).num_trainable for name in ("full", "bias", "lora")}
    biases = sum(p.numel() for name, p in base.model.named_parameters() if name.endswith("bias"))
    assert counted["full"] == base.num_params + head
    assert counted["bias"] == biases + head
    linear = [m for m in base.model.modules() if isinstance(m, torch.nn.Linear)]
    assert counted["lora"] == sum(8 * (m.in_features + m.out_features) for m in linear) + head


def test_probes_read_the_last_state_or_all_of_them(job):
    assert method("probe_last").fit(job).num_trainable == 3 * 32 + 3
    assert method("probe_all").fit(job).num_trainable == 3 * 32 * 5 + 3


def test_two_classes_are_probed_as_well_as_three(job):
    two = [i for i, label in enumerate(job.train.labels) if label != "heat"]
    own = job.model_copy(update={"train": job.train.take(two), "task": Classify(labels=("leak", "noise"))})
    logits = method("probe_all").fit(own).predict(own.test)
    assert logits.shape == (12, 2)
    answers = own.task.names(own.task.choose(torch.from_numpy(logits)))
    right = [a == b for a, b in zip(own.test.labels, answers, strict=True) if a != "heat"]
    assert np.mean(right) > 0.6


def test_a_grade_that_no_row_has_shifts_no_other(job):
    grades = Grade(labels=("heat", "cold", "leak", "noise"))
    own = job.model_copy(update={"task": grades})
    logits = torch.from_numpy(method("probe_all").fit(own).predict(own.test))
    assert logits.shape == (12, 4) and (logits[:, 1] < logits[:, [0, 2, 3]].max(1).values).all()
    answers = grades.names(logits.argmax(1))
    assert np.mean([a == b for a, b in zip(own.test.labels, answers, strict=True)]) > 0.6


def test_labels_that_all_rows_or_one_alone_have_are_probed(job):
    rows = job.train.labels
    train = Rows(job.train.texts, tuple("all;heat" if a == "heat" else "all" for a in rows), several=True)
    own = job.model_copy(update={"task": Tag(labels=("all", "heat")), "train": train, "validation": train})
    logits = method("probe_all").fit(own).predict(own.test)
    assert (logits[:, 0] > 5).all() and logits[:, 1].min() < 0 < logits[:, 1].max()
    single = Rows(job.train.texts, tuple("heat" if a == "heat" else "" for a in rows), several=True)
    own = job.model_copy(update={"task": Tag(labels=("heat",)), "train": single, "validation": single})
    assert method("probe_all").fit(own).predict(own.test).shape == (12, 1)


def test_a_prompt_method_of_peft_is_pooled_over_the_text_alone(job):
    found = METHODS.parse({"kind": "peft", "title": "prompts", "config": PROMPTS})
    outcome = found.fit(job_for(job, found))
    assert outcome.num_trainable == 3 * 32 + 3 * 32 + 3
    assert np.isfinite(outcome.predict(job.test)).all()


def test_a_base_that_is_trained_has_weights_of_its_own(job):
    own = own_base(job)
    with torch.no_grad():
        for parameter in own.model.parameters():
            parameter.zero_()
    assert any(p.abs().sum() > 0 for p in load_base(job.base, precision="fp32").model.parameters())


def test_candidates_that_lost_have_rows_of_their_own(job):
    config = read_config(settings={"data.illegible": "warn", "placement.strategy": "uniform", "placement.boundary": 2})
    found = METHODS.parse({"kind": "tsugiki", "config": config})
    # Labels that mean nothing: no candidate ends the race early.
    shuffled = job.validation.take([*range(1, 12), 0])
    own = job.model_copy(update={"validation": type(shuffled)(shuffled.texts, job.validation.labels)})
    outcome = found.fit(own)
    variants = [outcome.variant, *(c.variant for c in outcome.candidates)]
    assert len(set(variants)) == len(variants)
    assert {"head", "words", "suffix 2/4"} <= set(variants)
    for candidate in outcome.candidates:
        assert candidate.predict(job.test).shape == (12, 3)
        assert candidate.train_s <= outcome.train_s


def test_layers_above_the_exit_are_not_loaded_for_serving(job, folder, monkeypatch):
    monkeypatch.setattr("tsugiki.train.run._ENOUGH", 1.1)  # words alone would be, on these rows
    config = read_config(settings={"data.illegible": "warn", "placement.exit": 2, "placement.strategy": "head"})
    found = METHODS.parse({"kind": "tsugiki", "config": config})
    outcome = found.fit(job)
    head = next(o for o in (outcome, *outcome.candidates) if o.variant == "head")
    head.save(folder)
    loaded = []

    def watched(*args, **kwargs):
        loaded.append(load_base(*args, **kwargs))
        return loaded[-1]

    monkeypatch.setattr("tsugiki.tasks.adapter.load_base", watched)
    found.load(folder, job)
    assert [base.anatomy.num_layers for base in loaded] == [2]


# --- names -----------------------------------------------------------------------------------------------------------


def test_probe_means_both_probes_and_names_have_hyphens():
    assert [m.name for m in parse_methods(["tsugiki", "probe", "tfidf"])] == [
        *("tsugiki", "probe-last", "probe-all", "tfidf")
    ]


def test_a_method_named_twice_runs_once():
    assert [m.name for m in parse_methods(["probe", "probe-all", "full", "full"])] == [
        "probe-last",
        "probe-all",
        "full",
    ]


def test_a_peft_method_is_its_configuration(tmp_path):
    file = tmp_path / "ia3.json"
    file.write_text(json.dumps(IA3))
    (found,) = parse_methods([f"peft:{file}"])
    assert found.name == "peft:ia3"
    assert found.model_dump()["config"] == IA3


def test_two_configurations_of_one_name_are_refused(tmp_path):
    files = [tmp_path / "ia3.json", tmp_path / "other" / "ia3.json"]
    files[1].parent.mkdir()
    files[0].write_text(json.dumps(IA3))
    files[1].write_text(json.dumps({"peft_type": "LORA"}))
    with pytest.raises(ConfigError) as caught:
        parse_methods([f"peft:{file}" for file in files])
    assert "peft:ia3" in str(caught.value)


def test_no_method_at_all_is_refused_with_what_there_is():
    with pytest.raises(ConfigError) as caught:
        parse_methods([])
    assert "probe-last" in str(caught.value)


@pytest.mark.parametrize("name", ["nothing", "full:x"])
def test_an_unknown_method_is_refused_by_name(name):
    with pytest.raises(ConfigError) as caught:
        parse_methods([name])
    assert name in str(caught.value)


@pytest.mark.parametrize("content", ["{", '{"peft_type": "NOPE"}', '{"r": 8}', '{"peft_type": "LORA", "wrong": 1}'])
def test_a_file_that_is_no_peft_configuration_is_refused(content, tmp_path):
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(ConfigError):
        parse_methods([f"peft:{file}"])


def test_a_peft_file_that_is_not_there_is_missing():
    with pytest.raises(MissingError):
        parse_methods(["peft:nowhere.json"])


def test_a_job_is_known_by_its_rows_and_settings(job):
    again = Job.model_validate_json(job.model_dump_json())
    assert again == job
    assert again.digest() == job.digest()
    assert job.model_copy(update={"seed": 1}).digest() != job.digest()
    assert job.model_copy(update={"train": job.train.take(range(20))}).digest() != job.digest()


def test_facts_of_a_job_hold_no_text(job):
    assert not any(text in json.dumps(job.facts()) for text in (*job.train.texts, *job.test.texts))
