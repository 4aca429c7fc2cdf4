"""The tutorial from an Excel file to needs_review does what it says, in both languages."""

import json
import os
import re
import shlex
import unicodedata
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from transformers import BertConfig, BertModel

from tests.support.bases import tiny_base_folder

TICKETS = Path(str(files("tsugiki"))) / "demo" / "tickets_ja"
DOCS = Path(__file__).parents[2] / "docs"
PAGES = {"en": DOCS / "tutorial" / "excel-to-needs-review.md", "ja": DOCS / "ja" / "excel-to-needs-review.md"}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Step(NamedTuple):
    line: list[str]
    error: str | None


def blocks(page):
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def program(page):
    return next(content for kind, content in blocks(page) if kind == "python")


def steps(page):
    """The commands of a page; one whose shown output is an error is expected to fail with it."""
    found = []
    parts = blocks(page)
    for (kind, content), (next_kind, shown) in zip(parts, [*parts[1:], ("", "")], strict=True):
        error = re.match(r"error\[([\w.]+)\]", shown) if next_kind == "text" else None
        lines = [shlex.split(line, comments=True) for line in content.splitlines() if line.startswith("tsugiki ")]
        found += [Step(line[1:], error[1] if error else None) for line in lines if not kind]
    return found


def test_the_pages_of_both_languages_have_the_same_commands():
    assert steps(PAGES["en"]) == steps(PAGES["ja"])
    assert program(PAGES["en"]) == program(PAGES["ja"])


@pytest.fixture
def workbooks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(program(PAGES["ja"]), "make_workbooks.py", "exec"), {})


@pytest.fixture
def illegible(tmp_path, monkeypatch):
    """As the built-in base, one that reads Japanese as little as the real one."""
    folder = tiny_base_folder(tmp_path / "base")
    monkeypatch.setattr("tsugiki.base.model.built_in_folder", lambda: folder)


def test_every_command_does_what_the_page_says(tsugiki, workbooks, illegible, monkeypatch):
    import pandas

    monkeypatch.setenv("TSUGIKI_LANG", "ja")
    for line, error in steps(PAGES["ja"]):
        shown = tsugiki(*line)
        assert (shown.code != 0) == (error is not None), (line, shown.err)
        if error:
            assert f"error[{error}]" in shown.err
    answers = {name: pandas.read_excel(name) for name in ("新着.xlsx", "回答.xlsx", "回答90.xlsx")}
    assert list(answers["回答.xlsx"].columns[:3]) == list(answers["新着.xlsx"].columns)
    review = {name: int(answers[name]["needs_review"].sum()) for name in ("回答.xlsx", "回答90.xlsx")}
    assert 0 < review["回答90.xlsx"] < review["回答.xlsx"] < len(answers["新着.xlsx"]) == 120
    for picture in ("取り違え.png", "自動化.png"):
        assert Path(picture).read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def japanese(tmp_path):
    """A tiny base whose tokenizer knows the words of the shipped Japanese tickets, split by MeCab."""
    tagger = pytest.importorskip("fugashi", reason="the extra `ja` is not installed").Tagger(
        f"-d {pytest.importorskip('unidic_lite').DICDIR} -r {Path(os.devnull)}"
    )
    rows = [json.loads(line) for file in TICKETS.glob("*.jsonl") for line in file.read_text("utf-8").splitlines()]
    texts = [unicodedata.normalize("NFKC", row["text"]) for row in rows]
    words = dict.fromkeys(str(word) for text in texts for word in tagger(text))
    letters = dict.fromkeys("".join(words))
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    pieces = list(dict.fromkeys((*special, *words, *letters, *(f"##{letter}" for letter in letters))))
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    folder = tmp_path / "japanese"
    BertModel(BertConfig(vocab_size=len(pieces), max_position_embeddings=128, **sizes)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab", "model_max_length": 128}
    settings |= {"subword_tokenizer_type": "wordpiece", "mecab_kwargs": {"mecab_dic": "unidic_lite"}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def test_with_a_base_that_reads_japanese_nothing_has_to_be_forced(tsugiki, workbooks, japanese):
    import pandas

    train, predict = (
        next(step.line for step in steps(PAGES["ja"]) if step.line[0] == command and not step.error)
        for command in ("train", "predict")
    )
    line = [part for part in train if part != "--force"]
    trained = tsugiki(*line, "--base", japanese, "--set", "train.epochs=1", "--set", "precision=fp32")
    assert trained.code == 0, trained.err
    assert "readout" in trained.out and tsugiki(*predict).code == 0
    answers = pandas.read_excel(predict[predict.index("--out") + 1])
    assert {"label", "probability", "needs_review"} <= set(answers.columns) and len(answers) == 120
