"""From rows to answers: training over the cache, the package, and the base's own generation code."""

import math

import pytest
import torch

from tests.support.bases import tiny_base_folder
from tests.support.models import DECODERS
from tests.support.writers import tiny_writer_folder, writer_config, written_rows, written_splits
from tsugiki import api
from tsugiki.adapt.package import load_package
from tsugiki.base.model import load_base
from tsugiki.data.rows import Rows, Splits
from tsugiki.errors import BaseModelError, ConfigError, PackageError, RowsError
from tsugiki.train.write import train_writer
from tsugiki.writing.evaluation import evaluate_writer
from tsugiki.writing.sampling import Sampling
from tsugiki.writing.writer import Writer

SOURCES = ["oil a b", "belt", "motor c d e f g h a b c", "hot"]


def test_training_lowers_the_loss_and_the_writer_has_what_was_measured(trained):
    (placed,) = trained.candidates
    assert placed.variant == "suffix 2/4" and placed.placement.boundary == 2
    assert placed.fit.loss < 0.9 * -math.log(placed.fit.curve[0][1])
    # Over the cached states, for supervised tokens alone, as for the whole model.
    held = written_splits().validation
    adapted, alone = trained.adapter.perplexity(held.texts, held.labels)
    assert math.log(adapted) == pytest.approx(placed.fit.loss, abs=1e-4)
    assert math.log(alone) == pytest.approx(-math.log(placed.fit.curve[0][1]), abs=1e-4)


def test_the_cache_changes_nothing_but_the_time(decoder, trained):
    config = writer_config(decoder, placement__boundary=2, cache__enabled=False)
    again = train_writer(written_splits(), config)
    for name, tensor in trained.adapter.package.tensors.items():
        assert torch.allclose(again.adapter.package.tensors[name], tensor, atol=1e-5), name
    again.adapter.close()


def test_all_boundaries_are_raced_and_the_least_loss_wins(decoder):
    found = train_writer(written_splits(), writer_config(decoder, train__epochs=6))
    assert [placed.variant for placed in found.candidates] == ["suffix 3/4", "suffix 2/4", "suffix 0/4"]
    passes = {placed.variant: len(placed.fit.curve) - 1 for placed in found.candidates}
    assert sorted(passes.values()) == [2, 3, 6]
    manifest = found.adapter.manifest
    assert passes[manifest.variant] == 6 and manifest.metrics["validation_loss"] > 0
    assert found.seconds["total"] >= found.seconds["cache"] and found.verdict
    assert [score for _, score in found.curve] == sorted(score for _, score in found.curve)
    found.adapter.close()


def test_a_saved_writer_answers_as_before(trained, folder):
    again = Writer.load(folder, precision="fp32")
    assert again.write(SOURCES) == trained.adapter.write(SOURCES)
    assert load_package(folder).manifest.task["kind"] == "generate"
    again.close()


def test_answers_are_the_likeliest_tokens_of_the_adapted_model(trained):
    writer = trained.adapter
    ids = writer.wording.prompt("oil a b")[0]
    for _ in range(3):
        with writer._adapted.using("it"):
            logits = writer.base.model(input_ids=torch.tensor([ids]), use_cache=False).logits
        ids = [*ids, int(logits[0, -1].argmax())]
    (answer,) = writer.write("oil a b", Sampling(max_new=3))
    assert answer.text == writer.wording.text(ids[-3:]) and answer.tokens <= 3


def test_rows_are_answered_in_batches_as_one_by_one(trained):
    together = trained.adapter.write(SOURCES)
    assert together == [trained.adapter.write(source)[0] for source in SOURCES]
    assert trained.adapter.write([]) == []


def test_what_is_drawn_follows_from_the_seed(trained):
    drawn = [trained.adapter.write(SOURCES, Sampling(temperature=2.0, seed=seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_an_answer_ends_where_it_is_told_to(trained):
    writer = trained.adapter
    whole = writer.write(SOURCES, Sampling(temperature=2.0, seed=3, max_new=8))
    text = next(answer.text for answer in whole if len(answer.text.split()) > 2)
    stop = text.split()[1]
    for answer in writer.write(SOURCES, Sampling(temperature=2.0, seed=3, max_new=8, stop=(stop,))):
        assert stop not in answer.text


def test_a_stream_comes_to_the_answer(trained):
    assert "".join(trained.adapter.stream("oil a b")).strip() == trained.adapter.write("oil a b")[0].text


def test_whoever_stops_to_listen_leaves_nothing_behind(trained):
    writer = trained.adapter
    before = writer.write(SOURCES)
    pieces = writer.stream("motor c d e f g h", Sampling(temperature=3.0, max_new=30))
    next(pieces)
    pieces.close()
    assert writer._adapted._context.chosen is None and writer.write(SOURCES) == before


def test_a_closed_writer_gives_the_base_back(decoder, folder):
    base = load_base(decoder, precision="fp32", head=True)
    ids = torch.tensor([[2, 5, 6, 7]])
    plain = base.model(input_ids=ids).logits
    writer = Writer.load(folder, base)
    writer.write("oil")
    # Nothing acts outside of an answer.
    assert torch.equal(base.model(input_ids=ids).logits, plain)
    writer.close()
    assert torch.equal(base.model(input_ids=ids).logits, plain)


def test_an_evaluation_is_that_of_the_answers(trained):
    rows = written_splits().test
    found = evaluate_writer(trained.adapter, rows)
    answers = [answer.text for answer in trained.adapter.write(rows.texts)]
    assert found.matches == tuple(trained.adapter.writing.match(answers, [(label,) for label in rows.labels]))
    assert found.score == pytest.approx(sum(found.matches) / 8) and found.metric == "chrf"
    assert found.perplexity < found.base_perplexity
    assert sum(map(bool, answers)) > 4
    own = [["nothing", text or "nothing"] for text in answers]
    assert evaluate_writer(trained.adapter, rows, own).score == pytest.approx(sum(map(bool, answers)) / 8)


@pytest.mark.parametrize("family", DECODERS)
def test_every_family_of_decoders_learns_to_write(family, tmp_path):
    place = tiny_writer_folder(tmp_path / "base", family)
    found = train_writer(written_splits(12, 4), writer_config(place, placement__boundary=2, train__epochs=1))
    held = written_splits(12, 4).validation
    adapted, _ = found.adapter.perplexity(held.texts, held.labels)
    assert math.log(adapted) == pytest.approx(found.candidates[0].fit.loss, abs=1e-4)
    assert len(found.adapter.write(["oil", "belt a b c"])) == 2
    found.adapter.close()


def test_a_writer_goes_on_from_another(decoder, folder):
    parent = load_package(folder)
    found = train_writer(written_splits(), writer_config(decoder, train__epochs=1), parent)
    (placed,) = found.candidates
    assert placed.variant == "suffix 2/4 again"
    assert -math.log(placed.fit.curve[0][1]) == pytest.approx(parent.manifest.metrics["validation_loss"], abs=1e-3)
    assert found.adapter.manifest.parents == (parent.digest,)
    found.adapter.close()


def test_inputs_that_are_cut_are_counted(decoder, caplog):
    long = Rows(("oil " + "a b c d " * 20, *written_rows(23).texts), ("leak", *written_rows(23).labels))
    train_writer(Splits(long), writer_config(decoder, placement__boundary=3, data__max_length=24)).adapter.close()
    assert "1 input(s) were longer" in caplog.text


@pytest.mark.parametrize(
    ("settings", "error", "code"),
    [
        ({"placement__strategy": "evidence"}, ConfigError, "writing.no_strategy"),
        ({"writing__end": "<nothing>"}, ConfigError, "writing.no_such_end"),
        ({"writing__prompt": "none"}, ConfigError, "config.invalid"),
        ({"writing__metric": "beauty"}, ConfigError, "config.invalid"),
        ({"data__max_length": 8, "writing__prompt": "the pump at the belt at the pump {source}"}, ConfigError, None),
    ],
)
def test_settings_that_cannot_be_are_refused(decoder, settings, error, code):
    with pytest.raises(error) as caught:
        train_writer(written_splits(), writer_config(decoder, **settings))
    assert code is None or caught.value.code == code


def test_a_base_that_only_reads_is_refused(tmp_path):
    with pytest.raises(BaseModelError) as error:
        train_writer(written_splits(), writer_config(tiny_base_folder(tmp_path / "base")))
    assert error.value.code == "base.cannot_write"


@pytest.mark.parametrize("rows", [Splits(), Splits(written_rows(3)), Splits(Rows(("a",) * 8, ("b",) * 8))])
def test_too_few_rows_are_refused(decoder, rows):
    with pytest.raises(RowsError) as error:
        train_writer(rows, writer_config(decoder))
    assert error.value.code == "writing.few_rows"


def test_what_writes_and_what_does_not_are_told_apart(decoder, folder):
    with pytest.raises(PackageError):
        api.load(folder)
    with pytest.raises(ConfigError) as error:
        api.train([("oil", "leak")] * 8, base=decoder, task="generate")
    assert error.value.code == "writing.other_function"
