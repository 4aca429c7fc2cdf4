import pytest

USAGES = [
    (["trian"], "cli.no_such_command", "train"),
    (["train", "rows", "--outt", "x"], "cli.no_such_option", "--out"),
    (["train", "--out", "x"], "cli.missing", "ROWS"),
    (["train", "rows"], "cli.missing", "--out"),
    (["compare", "rows", "--out", "x", "--seeds", "0"], "cli.bad_value", "--seeds"),
    (["export", "x", "--out", "y", "--format", "gguf"], "export.no_such_format", "--format"),
    (["inspect", "x", "y"], "cli.usage", "y"),
    (["train", "rows", "--out"], "cli.usage", "--out"),
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


def test_it_is_explained_in_japanese(tsugiki):
    assert "コマンドはありません" in tsugiki("trian", "--lang", "ja").err
