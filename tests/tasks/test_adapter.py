import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.bases import tiny_base_folder
from tests.support.models import LAYERS
from tests.support.runs import LABELS, TASK, easy_rows
from tsugiki.adapt.package import load_package
from tsugiki.base.model import Base, load_base
from tsugiki.errors import MissingError, PackageError, RoutingError
from tsugiki.review import Review
from tsugiki.tasks import adapter as module
from tsugiki.tasks.adapter import Adapter
from tsugiki.tasks.answering import Prediction

KINDS = ["head", "words", "readout", "suffix", "joined"]
# Of all lengths: cut, padded, of one token, of none, of none that is known, and of other letters.
TEXTS = [
    "oil leak at the pump",
    "",
    "belt",
    "motor noise " + "a b c d e f g h " * 20,
    " \n\t",
    "ポンプの油漏れ 🛢️",
    "noise",
    "x" * 500,
    "valve stuck belt a",
]


@pytest.fixture(params=KINDS)
def adapter(request, folders):
    found = Adapter.load(folders / request.param, precision="fp32")
    yield found
    found.close()


@pytest.fixture
def suffix(folders):
    found = Adapter.load(folders / "suffix", precision="fp32")
    yield found
    found.close()


def changed(adapter, **facts):
    """The same adapter with other facts in its manifest."""
    manifest = adapter.manifest.model_copy(update=facts)
    return Adapter(replace(adapter.package, manifest=manifest), adapter.base)


def hooks_of(base):
    return [hook for m in base.model.modules() for hook in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())]


# --- answers ---------------------------------------------------------------------------------------------------------


def test_one_text_and_a_list_of_it_have_the_same_answer(adapter):
    (one,) = adapter.predict(TEXTS[0])
    assert isinstance(one, Prediction) and [one] == adapter.predict([TEXTS[0]]) == adapter.predict((TEXTS[0],))
    assert one.to_dict() == vars(one)


def test_the_runner_up_is_another_label_and_not_more_probable(adapter):
    for answer in adapter.predict(TEXTS):
        assert answer.runner_up != answer.label and 0 <= answer.runner_up_probability <= answer.probability


def test_an_answer_needs_review_where_it_is_less_sure_than_the_rule_says(adapter):
    assert all(answer.needs_review for answer in changed(adapter, review=None).predict(TEXTS))
    sure = sorted(answer.probability for answer in adapter.predict(TEXTS))
    middle = sure[len(sure) // 2]
    review = Review(num_rows=10, points=((middle, 5, 0), (0.0, 10, 5)), wanted=0.9)
    adapter = changed(adapter, review=review)
    assert [a.needs_review for a in adapter.predict(TEXTS)] == [a.probability < middle for a in adapter.predict(TEXTS)]
    assert not any(answer.needs_review for answer in adapter.predict(TEXTS, target_precision=0.2))


def test_a_temperature_moves_probabilities_and_no_label(adapter):
    before = adapter.predict(TEXTS)
    head = adapter.manifest.head.model_copy(update={"temperature": 4.0})
    after = changed(adapter, head=head).predict(TEXTS)
    assert [a.label for a in after] == [b.label for b in before]
    assert all(a.probability < b.probability for a, b in zip(after, before, strict=True))


def test_no_text_has_no_answer(adapter):
    assert adapter.predict([]) == [] and adapter.predict(()) == []
    assert adapter.scores([]).shape == (0, len(LABELS))


def test_answers_keep_the_order_of_the_texts(adapter):
    scores = adapter.scores(TEXTS)
    assert np.abs(adapter.scores(TEXTS[::-1])[::-1] - scores).max() < 1e-4
    assert len({tuple(np.round(row, 4)) for row in scores}) > 3
    assert [answer.label for answer in adapter.predict(TEXTS)] == [LABELS[i] for i in scores.argmax(1)]


def test_a_batch_of_mixed_lengths_is_answered_like_its_texts_one_by_one(adapter, monkeypatch):
    together = adapter.scores(TEXTS)
    assert together.shape == (len(TEXTS), 3) and together.dtype == np.float32
    alone = np.concatenate([adapter.scores([text]) for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-4
    monkeypatch.setattr(Base, "batch_tokens", 40)
    assert np.abs(together - adapter.scores(TEXTS)).max() < 1e-4


def test_probabilities_are_those_of_the_scores_and_sum_to_one(adapter):
    shares = torch.from_numpy(adapter.scores(TEXTS)).softmax(-1)
    assert torch.allclose(shares.sum(-1), torch.ones(len(TEXTS)))
    for share, answer in zip(shares, adapter.predict(TEXTS), strict=True):
        assert answer.probability == pytest.approx(float(share.max())) and 1 / 3 <= answer.probability <= 1


def test_scores_are_finite_for_any_text(adapter):
    assert np.isfinite(adapter.scores([*TEXTS, "\0", "\ud83d", "oil " * 200_000])).all()


def test_what_is_behind_the_length_limit_is_not_read(adapter):
    start = "oil leak " * 1_000
    assert np.array_equal(adapter.scores([start + "belt stuck"]), adapter.scores([start + "motor noise"]))


def test_the_answers_are_mostly_right(adapter):
    rows = easy_rows(72).take(range(63, 72))
    answers = [answer.label for answer in adapter.predict(rows.texts)]
    assert np.mean([a == b for a, b in zip(answers, rows.labels, strict=True)]) > 0.5


def test_answering_draws_no_gradient_and_leaves_the_random_state_alone(adapter):
    before = torch.get_rng_state()
    adapter.predict(TEXTS)
    assert torch.get_rng_state().equal(before)
    if adapter.base is not None:
        assert all(p.grad is None for p in adapter.base.model.parameters())


# --- what is loaded --------------------------------------------------------------------------------------------------


def test_words_alone_need_no_base_at_all(folders, monkeypatch):
    def refuse(*_, **__):
        pytest.fail("a base was loaded")

    monkeypatch.setattr(module, "load_base", refuse)
    monkeypatch.setattr(module, "encode", refuse)
    words = Adapter.load(folders / "words")
    assert words.base is None and len(words.predict(TEXTS)) == len(TEXTS)
    words.close()


def test_words_alone_ignore_a_base_that_is_given(folders):
    assert Adapter.load(folders / "words", "/nowhere").base is None


def test_the_base_of_the_package_is_taken_where_none_is_named(folders):
    found = Adapter.load(folders / "suffix", precision="fp32")
    assert found.base is not None and found.base.name == str(folders / "base")
    found.close()


def test_a_base_that_is_loaded_already_is_used(folders):
    base = load_base(folders / "base", precision="fp32")
    one, other = (Adapter.load(folders / kind, base) for kind in ("suffix", "head"))
    alone = Adapter.load(folders / "suffix", precision="fp32")
    assert one.base is other.base is base
    assert np.array_equal(one.scores(TEXTS), alone.scores(TEXTS))
    # The head sees the base without the modules of its neighbour.
    lone = Adapter.load(folders / "head", precision="fp32")
    assert np.array_equal(other.scores(TEXTS), lone.scores(TEXTS))
    for found in (one, other, alone, lone):
        found.close()


@pytest.mark.parametrize("kind", ["head", "suffix"])
def test_another_base_is_refused(folders, tmp_path, kind):
    other = tiny_base_folder(tmp_path / "other", seed=1)
    for base in (str(other), load_base(other, precision="fp32")):
        with pytest.raises(PackageError) as caught:
            Adapter.load(folders / kind, base, precision="fp32")
        assert caught.value.code == "package.other_base"
    assert hooks_of(base) == []


def test_a_base_of_too_few_layers_is_refused(folders):
    few = load_base(folders / "base", precision="fp32", exit=LAYERS - 1)
    with pytest.raises(PackageError) as caught:
        Adapter.load(folders / "suffix", few)
    assert caught.value.code == "package.few_layers"


def test_a_package_or_a_base_that_is_not_there_is_named(folders, tmp_path):
    with pytest.raises(MissingError, match="none"):
        Adapter.load(tmp_path / "none")
    with pytest.raises(MissingError, match="nowhere"):
        Adapter.load(folders / "suffix", str(tmp_path / "nowhere"))


def test_a_base_that_is_read_from_its_lower_layers_gives_the_same_scores(folders):
    whole = Adapter(load_package(folders / "suffix"), load_base(folders / "base", precision="fp32"))
    lower = Adapter.load(folders / "suffix", precision="fp32")
    assert np.abs(whole.scores(TEXTS) - lower.scores(TEXTS)).max() < 1e-6
    whole.close()
    lower.close()


# --- the base is left as it was --------------------------------------------------------------------------------------


def test_closing_leaves_the_base_bit_for_bit_and_without_a_hook(folders):
    base = load_base(folders / "base", precision="fp32")
    before = copy.deepcopy(base.model.state_dict())
    ids = torch.tensor([[2, 7, 9, 3]])
    plain = base.model(input_ids=ids).last_hidden_state
    found = Adapter.load(folders / "suffix", base)
    assert hooks_of(base)
    found.predict(TEXTS)
    found.close()
    found.close()
    assert hooks_of(base) == []
    assert all(tensor.equal(base.model.state_dict()[name]) for name, tensor in before.items())
    assert base.model(input_ids=ids).last_hidden_state.equal(plain)


def test_between_answers_the_base_gives_its_own_output(suffix):
    ids = torch.tensor([[2, 7, 9, 3]])
    during = suffix.base.model(input_ids=ids).last_hidden_state
    suffix.predict(TEXTS)
    assert suffix.base.model(input_ids=ids).last_hidden_state.equal(during)
    suffix.close()
    assert suffix.base.model(input_ids=ids).last_hidden_state.equal(during)


def test_a_closed_adapter_with_modules_says_so_instead_of_answering_without_them(suffix):
    suffix.close()
    with pytest.raises(RoutingError):
        suffix.predict("oil leak")


def test_the_modules_act(folders, suffix):
    package = load_package(folders / "suffix")
    still = {n: t * 0 if n.endswith(".up") else t for n, t in package.tensors.items()}
    bare = Adapter(replace(package, tensors=still), load_base(folders / "base", precision="fp32"))
    assert np.abs(bare.scores(TEXTS) - suffix.scores(TEXTS)).max() > 1e-3
    bare.close()


# --- the rest --------------------------------------------------------------------------------------------------------


def test_saving_again_gives_the_same_package(adapter, tmp_path):
    adapter.save(tmp_path / "again")
    assert load_package(tmp_path / "again").digest == adapter.package.digest
    assert adapter.manifest == load_package(tmp_path / "again").manifest


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_trained_parameters_is_that_of_what_was_trained(folders, kind):
    package = load_package(folders / kind)
    found = Adapter.load(folders / kind, precision="fp32")
    head = 3 * (3 * 32 + 1)
    modules = 2 * (32 * 4 + 4 + 4 * 32)
    words = package.tensors["lexicon.weight"].numel() + 3 if kind in ("words", "joined") else 0
    states = {"head": head, "words": 0, "readout": head + 3 * 8 * 32}
    assert found.num_trainable == states.get(kind, head + modules) + words
    found.close()


def test_a_joined_package_answers_by_words_and_states(folders):
    joined, suffix, words = (Adapter.load(folders / k, precision="fp32") for k in ("joined", "suffix", "words"))

    def as_fitted(one):
        return torch.from_numpy(one.scores(TEXTS)) * one.manifest.head.temperature

    expected = TASK.mix(as_fitted(suffix), as_fitted(words), 0.25)
    assert (as_fitted(joined) - expected).abs().max() < 1e-5
    assert np.abs(joined.scores(TEXTS) - suffix.scores(TEXTS)).max() > 0.1
    suffix.close()
    joined.close()
