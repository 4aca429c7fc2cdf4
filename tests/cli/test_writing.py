"""The same commands train, ask and evaluate an adapter that writes."""

import json
from pathlib import Path

import pytest

from tests.support.writers import SETTINGS, tiny_writer_folder, written_rows


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    return tiny_writer_folder(tmp_path_factory.mktemp("decoder"))


@pytest.fixture
def rows(tmp_path):
    """Rows as a file, with the column names that others give them."""
    path, found = tmp_path / "rows.jsonl", written_rows(32)
    pairs = zip(found.texts, found.labels, strict=True)
    lines = [json.dumps({"source": s, "target": t, "references": [t, "nothing"]}) for s, t in pairs]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def train_line(decoder, rows, *more, **settings):
    own = {key: value for key, value in SETTINGS.items() if key != "data.task"} | {"placement.boundary": 2}
    words = [
        word for key, value in own.items() for word in ("--set", f"{key}={json.dumps(value).replace(': ', ' = ')}")
    ]
    form = ["--set", 'placement.form={kind = "low_rank", rank = 4}']
    return ("train", rows, "--base", decoder, "--task", "generate", "--out", "it", *words, *form, *more)


def test_a_writer_is_trained_asked_and_evaluated(tsugiki, decoder, rows):
    found = tsugiki(*train_line(decoder, rows))
    assert found.code == 0, found.err
    assert "suffix 2/4" in found.out and "the base alone" in found.out
    (answer,) = tsugiki("predict", "it", "--text", "oil a b", "--json").lines
    assert {"text", "answer", "tokens", "finished", "cut"} == answer.keys() and answer["text"] == "oil a b"
    assert tsugiki("predict", "it", "--text", "oil a b").out.strip() == (answer["answer"] or "-")
    many = tsugiki("predict", "it", rows, "--json").lines
    assert len(many) == 32 and many[0]["text"] == json.loads(rows.read_text(encoding="utf-8").splitlines()[0])["source"]
    piped = tsugiki("predict", "it", "-", "--json", input="oil a b\nbelt\n").lines
    assert piped[0]["answer"] == answer["answer"] and len(piped) == 2
    assert tsugiki("predict", "it", rows, "--out", "answers.csv").code == 0
    head = Path("answers.csv").read_text(encoding="utf-8-sig").splitlines()[0]
    assert head == "source,target,references,answer,finished"
    told = tsugiki("evaluate", "it", rows, "--json").json
    assert told["num_rows"] == 32 and told["metric"] == "chrf" and 0 <= told["score"] <= 1
    assert told["perplexity"] < told["base_perplexity"] and "rouge_l" in told["further"]
    for language, said in (("en", "Perplexity"), ("ja", "パープレキシティ")):
        shown = tsugiki("evaluate", "it", rows, "--lang", language)
        assert shown.code == 0 and said in shown.out
    assert tsugiki("inspect", "it").code == 0
    again = tsugiki(*(word for word in train_line(decoder, rows, "--from", "it") if word not in ("--task", "generate")))
    assert again.code == 0 and "suffix 2/4 again" in again.out, again.err


@pytest.mark.parametrize("option", [("--receipts", "r.jsonl"), ("--target-precision", 0.9), ("--domains", "oil")])
def test_what_is_for_labels_is_refused_and_the_other_way_round(tsugiki, decoder, rows, option):
    assert tsugiki(*train_line(decoder, rows)).code == 0
    assert "writing.not_for_writers" in tsugiki("predict", "it", "--text", "oil", *option).err
    assert "writing.not_for_writers" in tsugiki("evaluate", "it", rows, "--picture", "it.png").err
    assert "writing.not_for_writers" in tsugiki(*train_line(decoder, rows, "--domains", "target")).err


def test_texts_to_be_written_are_not_taken_for_labels(tsugiki, decoder, tmp_path):
    texts = ["oil leak", "belt stuck at", "motor noise loud", "hot valve"]
    lines = [json.dumps({"source": f"{t} {i}", "target": f"the {t} number {i}"}) for i, t in enumerate(texts * 8)]
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    found = tsugiki("train", path, "--base", decoder, "--out", "it", "--force")
    assert found.code != 0 and "writing.unclear_task" in found.err and not Path("it").exists()


def test_an_empty_target_is_refused(tsugiki, decoder, rows):
    rows.write_text(rows.read_text(encoding="utf-8") + '\n{"source": "oil", "target": " "}', encoding="utf-8")
    found = tsugiki(*train_line(decoder, rows))
    assert found.code != 0 and "rows.missing_labels" in found.err and not Path("it").exists()


@pytest.mark.parametrize("option", [("--temperature", 1), ("--top-p", 0.5), ("--stop", "."), ("--max-new", 3)])
def test_sampling_is_for_writers(tsugiki, option):
    found = tsugiki("predict", "labels", "--text", "oil", *option)
    assert found.code != 0 and "writing.only_writers" in found.err and option[0] in found.err
