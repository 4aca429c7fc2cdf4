import io
import logging
import os
import subprocess
import sys
import warnings

import pytest
import typer

from tsugiki import errors, i18n
from tsugiki.cli import edge
from tsugiki.cli.answer import Answer, show


def raising(error):
    def run():
        raise error

    return run


def subclasses(kind):
    return [child for direct in kind.__subclasses__() for child in (direct, *subclasses(direct))]


OURS = [kind for kind in subclasses(errors.TsugikiError) if kind.__module__ == "tsugiki.errors"]


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("TSUGIKI_LANG", "en")
    monkeypatch.delenv("TSUGIKI_DEBUG", raising=False)
    i18n.use_language(None)


@pytest.mark.parametrize("kind", OURS)
def test_an_error_of_ours_is_one_line_with_its_code_and_exit_code(kind, capsys):
    assert edge.guard(raising(kind("rows.empty", path="x.csv")), as_json=False) == kind.exit_code
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"error[rows.empty]: {i18n.text('rows.empty', path='x.csv')}\n"


def test_as_json_an_error_goes_to_stdout(capsys):
    assert edge.guard(raising(errors.RowsError("rows.empty", path="x")), as_json=True) == 3
    out, err = capsys.readouterr()
    assert (out, err) == (
        f'{{"error": {{"code": "rows.empty", "message": "{i18n.text("rows.empty", path="x")}"}}}}\n',
        "",
    )


def test_exit_codes_tell_the_classes_apart():
    codes = [kind.exit_code for kind in OURS]
    assert len(set(codes)) == len(codes)


def test_an_interrupted_run_says_how_to_go_on(capsys):
    assert edge.guard(raising(KeyboardInterrupt()), as_json=False) == 130
    assert "same command again" in capsys.readouterr().err


def test_a_fault_of_ours_asks_for_a_report_and_shows_no_traceback(capsys):
    assert edge.guard(raising(KeyError("Oil on the floor")), as_json=False) == 70
    err = capsys.readouterr().err
    assert err.startswith("error[cli.unexpected]: KeyError in cli/edge.py:")
    assert "Oil" not in err
    assert err.count("\n") == 1


def test_a_fault_of_ours_shows_its_traceback_when_asked(capsys, monkeypatch):
    monkeypatch.setenv("TSUGIKI_DEBUG", "1")
    edge.guard(raising(KeyError("Oil on the floor")), as_json=False)
    err = capsys.readouterr().err
    assert "in raising" not in err and "in run" in err and "builtins.KeyError" in err
    assert "Oil" not in err


def test_what_the_system_says_in_so_many_words_is_not_repeated(capsys):
    assert edge.guard(raising(OSError("cannot read 'Oil on the floor'")), as_json=False) == 1
    assert "Oil" not in capsys.readouterr().err


SECRET = "hf_0123456789abcdefXYZ"


@pytest.mark.parametrize(
    "error", [OSError(f"Bearer {SECRET}"), KeyError(SECRET), errors.MissingError("rows.no_file", path=SECRET)]
)
@pytest.mark.parametrize("as_json", [False, True])
def test_no_token_gets_past_the_edge(capsys, monkeypatch, error, as_json):
    monkeypatch.setenv("TSUGIKI_DEBUG", "1")

    def run():
        i18n.warn("cache.uncached", reason=f"http://grafter:pw@proxy.corp {SECRET}")
        raise error

    edge.guard(run, as_json=as_json)
    shown = "".join(capsys.readouterr())
    assert "in run" in shown and "***" in shown
    assert SECRET not in shown and "grafter" not in shown


def test_what_the_system_refuses_is_named(capsys):
    assert edge.guard(raising(PermissionError(13, "Permission denied", "rows.csv")), as_json=False) == 1
    assert "rows.csv: Permission denied." in capsys.readouterr().err


def test_what_the_system_refuses_is_said_in_the_language_in_force(capsys, monkeypatch):
    monkeypatch.setenv("TSUGIKI_LANG", "ja")
    edge.guard(raising(PermissionError(13, "Permission denied", "rows.csv")), as_json=False)
    assert "rows.csv: アクセスする権限がありません。" in capsys.readouterr().err


def test_what_only_the_system_has_words_for_is_said_in_its_words():
    assert errors.reason_of(OSError(71, "Protocol error")) == "Protocol error"
    assert errors.reason_of(OSError("cannot read 'Oil on the floor'")) == "OSError"


def test_too_little_memory_is_said(capsys):
    assert edge.guard(raising(MemoryError()), as_json=False) == 1
    assert "memory" in capsys.readouterr().err


def test_an_exit_code_gets_through():
    assert edge.guard(raising(typer.Exit(4)), as_json=False) == 4
    assert edge.guard(lambda: None, as_json=False) == 0


def test_notices_and_warnings_go_to_stderr_and_leave_no_handler(capsys):
    def run():
        i18n.notify("rows.asking_hub", name="x")
        i18n.warn("data.contradictions", count=2)

    before = list(logging.getLogger("tsugiki").handlers)
    edge.guard(run, as_json=False)
    out, err = capsys.readouterr()
    notice, warning = err.splitlines()
    assert (out, notice) == ("", i18n.text("rows.asking_hub", name="x"))
    assert warning == f"warning: {i18n.text('data.contradictions', count=2)}"
    assert logging.getLogger("tsugiki").handlers == before


def test_other_libraries_are_not_heard(capfd):
    def run():
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        logging.getLogger("somebody.else").warning("chatter")

    edge.guard(run, as_json=False)
    assert capfd.readouterr() == ("", "")


def test_telemetry_is_off():
    edge.guard(lambda: None, as_json=False)
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == os.environ["DO_NOT_TRACK"] == "1"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_console_without_utf8_shows_what_it_can(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    edge.guard(lambda: show(Answer({}, "接ぎ木 ok"), as_json=False), as_json=False)
    sys.stdout.flush()
    assert raw.getvalue() == b"\\u63a5\\u304e\\u6728 ok\n"


@pytest.mark.parametrize("line", [["--help"], ["--lang", "ja", "--help"], ["nonsense", "--lang", "ja"]])
def test_a_bare_c_locale_never_crashes(line):
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-m", "tsugiki", *line], capture_output=True, env=environment)
    assert done.returncode in (0, 2)
    assert b"Traceback" not in done.stderr


def test_a_reader_that_has_enough_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m tsugiki --help | head -c 1; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
