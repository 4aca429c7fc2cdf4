"""What a writer does not let happen: by others, by its base, by what it is asked, by a package of elsewhere."""

import threading
from dataclasses import replace

import pytest
import torch

from tests.support.bases import tokenizer
from tests.support.models import tiny
from tests.support.writers import writer_config, written_rows, written_splits
from tsugiki import writers
from tsugiki.adapt.package import load_package
from tsugiki.base.model import describe, load_base
from tsugiki.data.rows import Rows, Splits
from tsugiki.errors import BaseModelError, ConfigError, PackageError
from tsugiki.train.write import train_writer
from tsugiki.writing.evaluation import evaluate_writer
from tsugiki.writing.sampling import Sampling
from tsugiki.writing.wording import asked, plain_tokens
from tsugiki.writing.writer import Writer
from tsugiki.writing.writing import WRITINGS

LONG = "motor c d e f g h a b c"


@pytest.fixture
def writer(decoder, folder):
    found = Writer.load(folder, load_base(decoder, precision="fp32", head=True))
    yield found
    found.close()


def test_answers_beside_a_stream_are_what_they_would_be_alone(writer):
    alone = writer.write("belt a b")
    pieces = writer.stream(LONG, Sampling(temperature=3.0, max_new=30))
    next(pieces)
    assert writer.write("belt a b") == alone
    list(pieces)
    assert writer._adapted._context.chosen is None


def test_many_threads_answer_as_one(writer):
    sources = ["oil a b", "belt", LONG, "hot"] * 2
    alone, found = [writer.write(source) for source in sources], {}
    threads = [
        threading.Thread(target=lambda at=at, source=source: found.update({at: writer.write(source)}))
        for at, source in enumerate(sources)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[at] for at in range(len(sources))] == alone


def test_a_fault_on_the_way_reaches_whoever_listens(writer, monkeypatch):
    monkeypatch.setattr(writer.base.model, "generate", lambda **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(writer.stream("oil"))
    assert not writer._turn.locked()


def test_penalties_and_beams_of_the_base_have_no_say(writer):
    before = writer.write([LONG, "oil a b"])
    config = writer.base.model.generation_config
    config.repetition_penalty, config.no_repeat_ngram_size, config.num_beams, config.min_new_tokens = 8.0, 1, 3, 4
    assert writer.write([LONG, "oil a b"]) == before
    assert writer.base.model.generation_config is config


def test_drawing_leaves_the_chance_of_others_alone(writer):
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    writer.write("oil", Sampling(temperature=1.0, seed=9))
    assert torch.equal(torch.rand(3), wanted)


def test_an_answer_ends_with_the_context_of_the_base(writer):
    (answer,) = writer.write(LONG, Sampling(max_new=10_000, temperature=5.0))
    assert answer.tokens + len(writer.wording.prompt(LONG)[0]) <= writer.base.max_length


def test_stops_are_found_in_blanks_and_across_pieces(writer):
    sampling = Sampling(temperature=3.0, seed=1, max_new=20)
    whole = writer.write(LONG, sampling)[0].text
    (stopped,) = writer.write(LONG, sampling.model_copy(update={"stop": (" ",)}))
    assert stopped.text == whole.split(" ")[0] and stopped.finished
    stop = f"{whole.split(' ')[0][-1]} {whole.split(' ')[1][0]}"
    streamed = "".join(writer.stream(LONG, sampling.model_copy(update={"stop": (stop,)})))
    assert streamed.strip() == whole[: whole.index(stop)].strip()


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_p": 2}, {"top_p": 0}, {"max_new": 0}, {"stop": ("",)}])
def test_what_cannot_be_sampled_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Sampling(**wrong)


def test_a_text_that_spells_a_special_token_stays_a_text(writer):
    specials = set(writer.base.tokenizer.all_special_ids) - {writer.base.tokenizer.unk_token_id}
    ids = writer.wording.prompt("oil [SEP] belt [CLS]")[0]
    assert not specials & set(ids[1:])
    assert not specials & set(plain_tokens(writer.base, "leak [CLS] pump [SEP]"))
    assert writer.wording.target("leak [SEP] pump")[0].count(3) == (1 if writer.wording.end == 3 else 0)


def test_what_closes_a_text_does_not_stand_before_an_answer(writer):
    ids = asked(writer.base, WRITINGS.parse({"kind": "generate"}), "oil")
    assert writer.base.tokenizer("oil")["input_ids"][-1] == 3 and ids[-1] != 3 and ids[0] == 2


def test_an_input_in_wide_letters_is_the_same_input(writer):
    assert writer.write("ｏｉｌ ａ") == writer.write("oil a")
    assert len(writer.write(["oil \udc80", ""])) == 2


def test_a_prompt_is_never_empty():
    found = tokenizer()
    found.backend_tokenizer.post_processor = None
    base = describe(tiny("llama", head=True), found, name="tiny")
    assert len(asked(base, WRITINGS.parse({"kind": "generate", "prompt": "{source}"}), "")) == 1


@pytest.mark.parametrize(
    "facts",
    [
        {"end": "x"},
        {"end": -5},
        {"end": 10**6},
        {"end": None},
        {"max_new": 0},
        {"max_new": [1]},
        {"max_prompt": 10**7},
        {"prompt": "no place"},
        {"metric": "beauty"},
    ],
)
def test_a_manifest_is_not_believed(decoder, folder, facts):
    package = load_package(folder)
    task = {name: value for name, value in (package.manifest.task | facts).items() if value is not None}
    strange = replace(package, manifest=package.manifest.model_copy(update={"task": task}))
    with pytest.raises(PackageError) as error:
        Writer(strange, load_base(decoder, precision="fp32", head=True))
    assert error.value.code == "package.kind"


@pytest.mark.parametrize(
    "settings",
    [
        {"budget__min_score": 0.9},
        {"routing__anonymous": 2},
        {"data__domains": "team"},
        {"data__pair": "other"},
        {"placement__exit": 3},
    ],
)
def test_settings_that_would_do_nothing_are_refused(decoder, settings):
    with pytest.raises(ConfigError) as error:
        train_writer(written_splits(), writer_config(decoder, **settings))
    assert error.value.code == "writing.unknown_setting" and next(iter(settings)).split("__")[0] in str(error.value)


def test_a_tracker_that_is_not_there_is_refused_before_anything_is_computed(decoder):
    with pytest.raises(ConfigError):
        train_writer(written_splits(), writer_config(decoder, train__trackers=["nonsense"]))


def test_targets_that_the_base_cannot_read_are_refused(decoder):
    rows = written_rows(24)
    strange = Splits(Rows(rows.texts, ("ポンプが漏れる",) * 24))
    with pytest.raises(BaseModelError):
        train_writer(strange, writer_config(decoder, data__illegible="stop"))


def test_a_writer_goes_on_with_its_own_task(decoder, tmp_path):
    rows = list(zip(written_rows(24).texts, written_rows(24).labels, strict=True))
    settings = {"placement.boundary": 3, "train.epochs": 1, "precision": "fp32", "data.illegible": "warn"}
    first = writers.train_writer(rows, base=decoder, out=tmp_path / "one", task="summarise", settings=settings)
    again = writers.train_writer(rows, parent=tmp_path / "one", settings={"data.illegible": "warn"})
    assert again.writing.kind == first.writing.kind == "summarise"
    first.close()
    again.close()


def test_a_package_without_modules_is_nothing_to_go_on_from(decoder, folder):
    package = load_package(folder)
    placement = package.manifest.placement.model_copy(update={"modules": ()})
    bare = replace(package, manifest=package.manifest.model_copy(update={"placement": placement}))
    with pytest.raises(PackageError):
        train_writer(written_splits(), writer_config(decoder), bare)


def test_a_row_without_references_has_its_target(trained):
    rows = written_splits().test
    plain = evaluate_writer(trained.adapter, rows).matches
    some = evaluate_writer(trained.adapter, rows, [["nothing of it"], *([] for _ in range(7))]).matches
    assert some[1:] == plain[1:]
