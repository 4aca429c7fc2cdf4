"""The command line as a user meets it: arguments in, streams and exit code out."""

import json
from dataclasses import dataclass

import pytest
from typer.testing import CliRunner

from tsugiki import i18n
from tsugiki.cli.main import app


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def tsugiki(monkeypatch, tmp_path):
    """`tsugiki("train", "rows", ...)` in an empty folder, in English unless the test says otherwise."""
    monkeypatch.setenv("TSUGIKI_LANG", "en")
    monkeypatch.setenv("TSUGIKI_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TSUGIKI_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*line, **more):
        result = CliRunner().invoke(app, [str(word) for word in line], prog_name="tsugiki", **more)
        return Outcome(result.exit_code, result.stdout, result.stderr)

    yield run
    i18n.use_language(None)
