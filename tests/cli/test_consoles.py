"""A console of any encoding: what it cannot show never stops a command, and JSON is read by everybody."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli import stand_ins

ROOT = Path(__file__).parents[2]
CONSOLES = ["cp932", "cp932:strict", "ascii:strict"]
# What CP932 lacks, in a text, and a label; beside it what CP932 has and Shift JIS lacks.
TEXT = "🛢 oil ①㈱髙 ﾎﾟﾝﾌﾟ \u301c é"
# The command line with a stand-in that answers at once, where an adapter is asked for.
PROGRAM = """
import sys
from types import SimpleNamespace
from tests.cli import stand_ins

stand_ins.Adapter.predict = lambda self, texts, precision=None: [stand_ins.Prediction("✅漏れ", 0.5) for _ in texts]
sys.modules["tsugiki.api"] = SimpleNamespace(load_either=lambda *_: stand_ins.Adapter())
sys.modules["tsugiki.writers"] = SimpleNamespace(is_writer=lambda *_: False, load_writer=None)
from tsugiki.cli.main import main

main()
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": TEXT}, ensure_ascii=False) + "\n", encoding="utf-8")

    def run(console, *line, **more):
        environment = {
            # Without what makes Python warn of other libraries' encodings, as our own tests are run.
            **{name: value for name, value in os.environ.items() if not name.startswith(("LC_", "PYTHONWARN"))},
            **{"PYTHONIOENCODING": console, "PYTHONUTF8": "0", "TSUGIKI_LANG": "ja", "COLUMNS": "80"},
            **{"TSUGIKI_HOME": str(tmp_path / "home"), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
            **more,
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *line], capture_output=True, cwd=tmp_path, env=environment
        )
        assert b"Traceback" not in done.stderr
        encoding = console.partition(":")[0]
        return done.returncode, done.stdout.decode(encoding), done.stderr.decode(encoding)

    return run


@pytest.mark.parametrize("console", CONSOLES[:2])
@pytest.mark.parametrize("line", [["--help"], ["train", "--help"], ["predict", "a", "--help"]])
def test_help_is_shown(run, console, line):
    code, out, err = run(console, *line)
    assert (code, err) == (0, "")
    assert "--lang" in out and "使い方:" in out and "\\u" not in out


@pytest.mark.parametrize("console", CONSOLES)
def test_answers_are_shown_and_nothing_of_them_is_lost(run, console):
    code, out, _ = run(console, "predict", "a", "rows.jsonl")
    assert code == 0
    assert out.startswith("\\u2705") and "\\U0001f6e2 oil " in out
    assert "①㈱髙 ﾎﾟﾝﾌﾟ" in out or console.startswith("ascii")


@pytest.mark.parametrize("console", CONSOLES)
def test_json_is_ascii_and_says_everything(run, console):
    code, out, err = run(console, "predict", "a", "rows.jsonl", "--json")
    assert (code, err, out.isascii()) == (0, "", True)
    assert (json.loads(out)["text"], json.loads(out)["label"]) == (TEXT, "✅漏れ")


@pytest.mark.parametrize("console", CONSOLES)
def test_an_error_is_one_line(run, console):
    code, out, err = run(console, "predict", "a", "🛢.csv")
    assert (code, out) == (4, "")
    assert err.startswith("error[rows.no_file]: \\U0001f6e2.csv") and err.count("\n") == 1
    code, out, err = run(console, "predict", "a", "🛢.csv", "--json")
    assert (code, err) == (4, "")
    assert "🛢.csv" in json.loads(out)["error"]["message"]


@pytest.mark.parametrize("console", CONSOLES)
def test_a_bar_is_drawn_with_what_the_console_has(run, console):
    code, out, err = run(console, "predict", "a", "rows.jsonl", "--out", "out.csv", FORCE_COLOR="1", TERM="xterm")
    assert code == 0 and out.strip()
    assert "1/1" in err and "━" not in err
    assert "回答" in err or console.startswith("ascii")


@pytest.mark.parametrize("console", CONSOLES)
def test_tables_are_drawn_with_what_the_console_has(run, console, tmp_path):
    data = stand_ins.manifest().data.model_copy(update={"class_counts": {"✅漏れ": 20}})
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "adapter.json").write_bytes(stand_ins.manifest(data=data).to_bytes())
    code, out, err = run(console, "inspect", "made")
    assert (code, err) == (0, "")
    assert "\\u2705" in out and "suffix 4/6 *" in out and "─" not in out


def test_doctor_speaks_japanese_on_a_console_of_windows(run):
    code, out, err = run("cp932:strict", "doctor")
    assert code in (0, 1) and err == ""
    for words in ("マシン", "データ用フォルダー", "パッケージ"):
        assert words in out
