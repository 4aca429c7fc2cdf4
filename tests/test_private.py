"""What stays on this machine: no row in any file, message or log, no state that was not to be kept, no socket."""

import csv
import json
import logging
import os
import subprocess
import sys

import pytest

from tests.cli.conftest import tsugiki  # noqa: F401 (a fixture)
from tests.support.bases import tiny_base_folder
from tests.support.runs import SETTINGS, TASK, easy_rows, easy_splits, quick_options
from tsugiki.evaluate import worker
from tsugiki.evaluate.method import Job
from tsugiki.home import home

MARK = "zqxjkv"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base_folder(tmp_path_factory.mktemp("base"))


def marked(rows):
    """The rows with a word in each that is nowhere else."""
    return [
        (f"{text} {MARK}{number}", label)
        for number, (text, label) in enumerate(zip(rows.texts, rows.labels, strict=True))
    ]


@pytest.fixture
def source(tmp_path):
    """A folder of rows that are all marked."""
    folder = tmp_path / "rows"
    folder.mkdir()
    splits = easy_splits()
    for name in ("train", "validation", "test"):
        write(folder / f"{name}.csv", marked(getattr(splits, name)))
    return folder


def write(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def telling(*folders):
    """Files that have a mark in them, in any encoding in which one might be written."""
    spelled = [MARK.encode(), MARK.encode("utf-16-le"), MARK.encode("utf-16-be")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if any(mark in path.read_bytes() for mark in spelled)]


@pytest.fixture
def run(tsugiki, tmp_path, capfd, caplog, monkeypatch):  # noqa: F811
    """The command line; that nothing it says but answers has a mark is seen to."""
    import torch

    torch.set_num_threads(1)
    caplog.set_level(logging.DEBUG)

    def call(*line, code=0, **more):
        shown = tsugiki(*line, **more)
        assert shown.code == code, shown.err
        heard = shown.err + "".join(capfd.readouterr()) + caplog.text
        assert MARK not in heard
        return shown

    return call


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_file_and_no_message_has_a_text_of_a_row(run, source, base, tmp_path):
    out = tmp_path / "out"
    line = ["--base", base, *quick_options()]
    shown = run("train", source, "--out", out / "adapter", *line)
    shown2 = run("evaluate", out / "adapter", source, "--picture", out / "c.png", "--coverage", out / "v.png")
    methods = ["--methods", "tsugiki,tfidf", "--seeds", "1"]
    shown3 = run("compare", source, "--out", out / "bill", *methods, *line)
    shown4 = run("inspect", out / "adapter")
    assert MARK not in shown.out + shown2.out + shown3.out + shown4.out
    assert MARK in run("predict", out / "adapter", source / "test.csv").out
    assert list(home().rglob("*.bin")) and list(out.rglob("log.txt"))
    assert telling(out, home()) == []


def bad_rows(folder):
    """Files that cannot be read or learnt from, each for a reason of its own."""
    text = f"{MARK} oil under the press"
    contents = {
        "quotes.csv": f'text,label\n"{text},a\n',
        "width.csv": f"text,label\n{text},a,b\n",
        "labels.csv": f"text,label\n{text},a\n{text},\n",
        "one.csv": f"text,label\n{text},a\n{text},a\n",
        "bare.csv": f"{text} since Monday morning,a\n{text},b\n",
        "twice.csv": f"text,class,category\n{text},a,b\n",
        "lines.jsonl": f'{{"text": "{text}", "label": "a"}}\n{{"text": "{text}\n',
        "cell.json": f'[{{"text": ["{text}"], "label": "a"}}]',
        "object.json": f'{{"text": "{text}"}}',
        "bytes.csv": f"text,label\n{text}\udcff,a\n",
        "damaged.parquet": text,
        "damaged.xlsx": text,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content.encode(errors="surrogateescape"))
    return list(contents)


@pytest.mark.parametrize("debug", ["", "1"])
def test_no_fault_of_rows_quotes_them(run, tmp_path, monkeypatch, debug):
    monkeypatch.setenv("TSUGIKI_DEBUG", debug)
    for name in bad_rows(tmp_path):
        for line in (["train", name, "--out", "made"], ["data", "check", name]):
            assert MARK not in run(*line, code=3).out


@pytest.mark.parametrize("debug", ["", "1"])
@pytest.mark.parametrize("kind", [ValueError, KeyError, OSError, RuntimeError])
def test_no_fault_of_ours_quotes_what_it_stumbled_over(run, source, base, tmp_path, monkeypatch, kind, debug):
    monkeypatch.setenv("TSUGIKI_DEBUG", debug)

    def stumble(_, texts, *more):
        try:
            raise TypeError(texts[0])
        except TypeError as error:
            raise kind(f"could not convert {texts[1]!r}") from error

    monkeypatch.setattr("tsugiki.base.prefix_cache.encode", stumble)
    shown = run("train", source, "--out", "made", "--base", base, *quick_options(), code=1 if kind is OSError else 70)
    assert kind.__name__ in shown.err
    assert ("TypeError" in shown.err) is bool(debug)
    assert telling(home()) == []


def test_what_a_stopped_run_leaves_has_no_text(run, source, base, tmp_path, monkeypatch):
    from tsugiki.train import loop

    calls, step = [], loop.step

    def stop(*arguments):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(loop, "step", stop)
    run("train", source, "--out", "made", "--base", base, *quick_options(train__checkpoint_s=0.001), code=130)
    assert list((home() / "runs").rglob("*.safetensors"))
    assert telling(home()) == []


def stumble(job, out, folder):
    import warnings

    sys.stdout.write("a library says something")
    warnings.warn(job.test.texts[0], stacklevel=1)
    logging.getLogger("somebody.else").error(job.test.texts[0])
    raise ValueError(job.test.texts[1])


def test_the_log_of_a_comparison_says_where_a_fault_was_and_quotes_no_row(tmp_path, base, capfd):
    rows = easy_rows(12)
    texts = type(rows)(tuple(f"{text} {MARK}" for text in rows.texts), rows.labels)
    facts = {"dataset": "d", "method": {}, "train": texts, "validation": texts, "test": texts}
    job = Job(**facts, task=TASK, base=str(base))
    with capfd.disabled():
        assert worker._apart(stumble, job, tmp_path, tmp_path) == 1
    log = (tmp_path / worker.LOG).read_text()
    assert MARK not in log
    assert log.splitlines()[-1].startswith("ValueError in ") and "in stumble" in log


def test_characters_shown_on_the_terminal_are_in_no_log_of_a_comparison(tmp_path, capfd):
    def warn(job, out, folder):
        from tsugiki.i18n import warn

        facts = {"base": "tiny", "unknown": 50.0, "equal": 0.0, "suggestion": "-"}
        warn("base.hardly_legible", examples="ガ=カ", **facts)
        warn("cache.uncached", reason="no room")

    with capfd.disabled():
        assert worker._apart(warn, None, tmp_path, tmp_path) == 0  # type: ignore[arg-type]
    log = (tmp_path / worker.LOG).read_text(encoding="utf-8")
    assert "ガ" not in log and "no room" in log


# --- no state


def test_without_the_cache_no_state_is_written_and_the_outcome_is_the_same(run, source, base, tmp_path):
    line = ["--base", base, *quick_options(), "--json"]
    kept = run("train", source, "--out", "kept", *line).json
    before = set(home().rglob("*.bin"))
    assert before
    plain = run("train", source, "--out", "plain", "--no-cache", *line).json
    assert set(home().rglob("*.bin")) == before
    assert (plain["variant"], plain["verdict"]) == (kept["variant"], kept["verdict"])


def test_without_the_cache_not_even_the_run_writes_a_state(run, source, base, tmp_path, monkeypatch):
    monkeypatch.setattr("tsugiki.base.segment.Draft.__init__", lambda *_: pytest.fail("a state is written"))
    run("train", source, "--out", "plain", "--no-cache", "--base", base, *quick_options())


# --- no socket, no telemetry

WATCHED = """
import json, sys
seen = []
sys.addaudithook(lambda event, facts: seen.append(event) if event.startswith("socket.") else None)
import tsugiki
rows, base, out, settings = json.loads(sys.argv[1])
adapter = tsugiki.train(rows, base=base, out=out, settings=settings)
tsugiki.load(out).predict(["oil leak"])
during = list(seen)
import socket
try:
    socket.create_connection(("127.0.0.1", 9), timeout=0.1)
except OSError:
    pass
from huggingface_hub import constants
print(json.dumps({"during": during, "watching": len(seen) > len(during), "off": constants.HF_HUB_DISABLE_TELEMETRY}))
"""


def python(code, *arguments, **environment):
    # As on a machine where nothing is said of telemetry or of being offline.
    said = ("HF_", "TRANSFORMERS_", "DO_NOT_TRACK", "MLFLOW_", "DISABLE_TELEMETRY")
    own = {name: value for name, value in os.environ.items() if not name.startswith(said)}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**own, **environment})
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_training_and_answering_from_local_folders_opens_no_socket(source, base, tmp_path):
    asked = json.dumps([str(source), str(base), str(tmp_path / "made"), SETTINGS])
    told = python(WATCHED, asked, TSUGIKI_HOME=str(tmp_path / "home"))
    assert told == {"during": [], "watching": True, "off": True}


@pytest.mark.parametrize(
    "imports", ["tsugiki, huggingface_hub.constants as c", "huggingface_hub.constants as c, tsugiki"]
)
def test_telemetry_is_off_whichever_is_imported_first(imports):
    code = (
        f"import json, os, {imports}; names = ('DO_NOT_TRACK', 'MLFLOW_DISABLE_TELEMETRY', 'HF_UPDATE_DOWNLOAD_COUNTS')"
    )
    told = python(f"{code}\nprint(json.dumps([c.HF_HUB_DISABLE_TELEMETRY, *(os.environ[n] for n in names)]))")
    assert told == [True, "1", "true", "0"]


def test_whoever_wants_telemetry_keeps_it():
    code = "import json, tsugiki, huggingface_hub.constants as c; print(json.dumps(c.HF_HUB_DISABLE_TELEMETRY))"
    assert python(code, HF_HUB_DISABLE_TELEMETRY="0", DO_NOT_TRACK="0") is False
