import re

import pytest

USAGES = [
    (["trian"], "cli.no_such_command", "train"),
    (["train", "rows", "--outt", "x"], "cli.no_such_option", "--out"),
    (["train", "--out", "x"], "cli.missing", "ROWS"),
    (["train", "rows"], "cli.missing", "--out"),
    (["compare", "rows", "--out", "x", "--seeds", "0"], "cli.bad_value", "--seeds"),
    (["export", "x", "--out", "y", "--format", "gguf"], "export.no_such_format", "--format"),
    (["compare", "rows", "--out", "x", "--seeds", "many"], "cli.bad_value", "'many'"),
    (["train", "rows", "--out", "x", "--target-precision", "2"], "cli.bad_value", "'2'"),
    (["inspect", "x", "y", "z"], "cli.too_many", "y z"),
    (["train", "rows", "--out"], "cli.needs_value", "--out"),
    (["train", "rows", "--out", "x", "--force=yes"], "cli.takes_no_value", "--force"),
    (["train", "rows", "--out", "x", "--bogus"], "cli.no_such_option", "--bogus"),
    (["train", "rows", "--out", "x", "--set", "epochs"], "cli.bad_setting", "epochs"),
    (["--lang=tlh"], "cli.no_such_language", "tlh"),
    (["predict", "x"], "cli.nothing_to_answer", "--text"),
]


@pytest.mark.parametrize(("line", "code", "named"), USAGES)
def test_a_command_line_that_cannot_be_meant_is_explained(tsugiki, line, code, named):
    shown = tsugiki(*line)
    assert (shown.code, shown.out) == (2, "")
    assert shown.err.startswith(f"error[{code}]: ")
    assert named in shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(("line", "code", "named"), USAGES)
def test_it_is_explained_to_programs_too(tsugiki, line, code, named):
    shown = tsugiki(*line[:1], "--json", *line[1:])
    assert (shown.code, shown.err) == (2, "")
    assert shown.json["error"]["code"] == code
    assert named in shown.json["error"]["message"]


@pytest.mark.parametrize(("line", "code", "named"), USAGES)
def test_it_is_explained_in_japanese_without_a_word_of_english(tsugiki, monkeypatch, line, code, named):
    monkeypatch.setenv("TSUGIKI_LANG", "ja")
    shown = tsugiki(*line)
    assert shown.err.startswith(f"error[{code}]: ")
    message = shown.err.partition(": ")[2]
    assert re.search("(ください|できます|ませんか。)", message)
    # What is typed stays as it is typed; a sentence of Typer or pydantic has words side by side.
    plain = re.sub(r"`[^`]*`|--set \S+|\"[^\"]*\"", "", message)
    assert not re.search(r"[A-Za-z]{2,} [a-z]{2,}", plain), plain


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (["--seeds", "many"], "--seeds に 'many' は指定できません(指定できる値: 整数)。"),
        (["--seeds", "0"], "--seeds に '0' は指定できません(指定できる値: 1 以上の値)。"),
    ],
)
def test_what_was_found_and_what_is_allowed_are_both_said(tsugiki, value, said):
    assert said in tsugiki("compare", "rows", "--out", "x", *value, "--lang", "ja").err


def test_the_choices_of_an_option_are_named(tsugiki):
    shown = tsugiki("export", "x", "--out", "y", "--format", "gguf", "--lang", "ja").err
    assert "--format に 'gguf' という形式はありません。使えるのは merged, onnx, peft です。" in shown
