"""Words that answer alone where they are sure: what is given up for that, and what is spared."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.bases import tiny_base_folder
from tests.support.runs import TASK, easy_rows, easy_splits, quick_config
from tsugiki.auditing.explain import explain
from tsugiki.auditing.receipts import receipt
from tsugiki.base.suffix import run_states
from tsugiki.manifest import HeadFacts, Placement
from tsugiki.tasks.adapter import Adapter
from tsugiki.train import heads
from tsugiki.train.candidate import Candidate
from tsugiki.train.run import train_adapter
from tsugiki.train.shortcut import FIRST, behind_words


def of(logits: Any, targets: Any, **facts: Any) -> Candidate:
    score, loss = TASK.measure(logits, targets)
    usual: dict[str, Any] = {"variant": "it", "train_s": 1.0, "predicted_s": 0.0, "num_trainable": 1, "curve": ()}
    usual |= {"placement": Placement(boundary=2, exit=4), "head": HeadFacts(states=(4,)), "tensors": {}}
    return Candidate(score=score, loss=loss, logits=logits, **(usual | facts))


def pair(seed, rows=60):
    """A strong candidate and weaker words, on the same rows."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(3, (rows,), generator=generator)
    right = torch.nn.functional.one_hot(targets, 3).float()
    strong, weak = (right * gain + torch.randn(rows, 3, generator=generator) for gain in (4.0, 1.0))
    words = of(weak, targets, variant="words", head=HeadFacts(words={"kind": "it"}, words_share=1.0))
    return of(strong, targets), words, SimpleNamespace(task=TASK, targets=targets)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), given_up=st.floats(0, 0.3))
def test_what_is_enough_is_kept_and_no_more_rows_could_be_spared(seed, given_up):
    strong, words, held = pair(seed)
    enough = strong.score - given_up
    found: Any = behind_words(strong, words, held, enough)
    if found is None:
        return
    assert found.score >= enough - 1e-6 and 0 <= found.runs < 1
    shortcut = found.head.shortcut
    confidence = TASK.answers(words.logits / shortcut.temperature).probability
    assert float((confidence < shortcut.threshold).double().mean()) == pytest.approx(found.runs)
    for threshold in confidence[confidence < shortcut.threshold].unique():
        logits = torch.where((confidence >= threshold)[:, None], words.logits, strong.logits)
        assert TASK.measure(logits, held.targets)[0] < enough
    assert found.variant == f"{FIRST}it" and found.head.words == {"kind": "it"} and found.num_trainable == 2


def test_words_that_are_right_throughout_spare_every_row():
    strong, words, held = pair(0)
    sure = replace(words, logits=torch.nn.functional.one_hot(held.targets, 3) * 20.0)
    found: Any = behind_words(strong, sure, held, strong.score)
    assert found.runs == 0 and found.score == 1


def test_words_that_are_wrong_throughout_spare_none():
    strong, words, held = pair(0)
    wrong = replace(words, logits=torch.nn.functional.one_hot((held.targets + 1) % 3, 3) * 20.0)
    assert behind_words(strong, wrong, held, strong.score) is None


TEXTS = easy_rows(40, seed=4).texts


def weak_words(*args, **more):
    """Words that say less of the validation rows than they know."""
    found = heads.words_candidate(*args, **more)
    noise = torch.randn(found.logits.shape, generator=torch.Generator().manual_seed(0))
    logits = found.logits + 2 * float(found.logits.std()) * noise
    score, loss = TASK.measure(logits, args[3].targets)
    return replace(found, logits=logits, score=score, loss=loss)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A race in which words alone are not good enough, and a package whose words are sure of half of `TEXTS`."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("root")
        patch.setenv("TSUGIKI_HOME", str(root / "home"))
        patch.setattr("tsugiki.train.race.words_candidate", weak_words)
        base = tiny_base_folder(root / "base")
        config = quick_config(base, budget__min_score=0.9, placement__strategy="top", placement__boundary=2)
        trained = train_adapter(easy_splits(train=90, validation=60), config)
        candidate = next(c for c in trained.candidates if c.head.shortcut)
        assert candidate.head.shortcut is not None
        answering = trained.adapter_of(candidate)._answering
        confidence = TASK.answers(found(answering.words(TEXTS)) / candidate.head.shortcut.temperature).probability
        shortcut = candidate.head.shortcut.model_copy(update={"threshold": float(confidence.median())})
        head = candidate.head.model_copy(update={"shortcut": shortcut})
        adapter = trained.adapter_of(replace(candidate, head=head))
        adapter.save(root / "it")
        adapter.close()
        yield trained, root / "it", base


def found(tensor: torch.Tensor | None) -> torch.Tensor:
    assert tensor is not None
    return tensor


def test_all_that_is_good_enough_is_tried_with_the_words_before_it(done):
    trained, *_ = done
    reaching = {c.variant for c in trained.candidates if c.placement.exit and not c.variant.startswith(FIRST)}
    tried = {c.variant.removeprefix(FIRST): c for c in trained.candidates if c.variant.startswith(FIRST)}
    assert tried and tried.keys() <= reaching and all(c.score >= 0.9 for c in tried.values())
    cheapest = min(c.runs * c.placement.exit for c in trained.candidates if c.score >= 0.9)
    (winner,) = [c for c in trained.candidates if c.variant == trained.adapter.manifest.variant]
    assert winner.runs * winner.placement.exit == cheapest
    assert trained.seconds["total"] == pytest.approx(
        sum(v for k, v in trained.seconds.items() if k != "total" and not k.startswith(FIRST))
    )


def test_the_base_runs_for_the_rows_alone_of_which_the_words_are_not_sure(done, monkeypatch):
    _, folder, base = done
    adapter = Adapter.load(folder, str(base), precision="fp32")
    texts, words = TEXTS, found(adapter._answering.words(TEXTS))
    sure = found(adapter._answering.sure(words))
    assert 5 < int(sure.sum()) < 35
    ran = []

    def counted(*args, **more):
        ran.append(len(args[2]))
        return run_states(*args, **more)

    monkeypatch.setattr("tsugiki.tasks.adapter.run_states", counted)
    scores = adapter.scores(texts)
    assert sum(ran) == int((~sure).sum())
    # One by one, and whoever runs the base for all of them, come to the same.
    np.testing.assert_allclose(np.concatenate([adapter.scores([text]) for text in texts]), scores, atol=1e-5)
    everything = adapter._answering.joined(adapter._state_scores(texts, None, range(40)), texts, words)
    np.testing.assert_allclose(everything.numpy(), scores, atol=1e-5)
    head = adapter.manifest.head
    assert head.shortcut is not None
    alone = words[sure] * head.shortcut.scale / head.temperature
    np.testing.assert_allclose(scores[sure.numpy()], alone.numpy(), atol=1e-5)
    adapter.close()


def test_words_that_are_sure_of_everything_run_no_layer(done, monkeypatch):
    _, folder, base = done
    adapter = Adapter.load(folder, str(base), precision="fp32")
    monkeypatch.setattr(adapter._answering, "sure", lambda words: torch.ones(len(words), dtype=torch.bool))
    monkeypatch.setattr("tsugiki.tasks.adapter.run_states", lambda *_: pytest.fail("a layer ran"))
    assert len(adapter.scores(["oil leak", "belt"])) == 2
    adapter.close()


def test_the_card_says_that_the_time_of_an_answer_depends_on_it(done):
    _, folder, _ = done
    assert "depends on the input" in (folder / "README.md").read_text(encoding="utf-8")


def test_an_answer_of_words_is_told_as_one(done):
    _, folder, base = done
    adapter = Adapter.load(folder, str(base), precision="fp32")
    sure = found(adapter._answering.sure(found(adapter._answering.words(TEXTS))))
    for at, is_sure in ((int(sure.nonzero()[0]), True), (int((~sure).nonzero()[0]), False)):
        told, made = explain(adapter, TEXTS[at]), receipt(adapter, TEXTS[at])
        assert (told.words_share == 1) == is_sure
        assert (made.base is None) == is_sure
        assert told.label == made.label == adapter.predict(TEXTS[at])[0].label
    adapter.close()
