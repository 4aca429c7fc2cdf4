"""A comparison from rows to a page, kept run by run."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.progress import Progress

from tsugiki.data.rows import Rows, Splits
from tsugiki.errors import RowsError, TrainingError
from tsugiki.evaluate import bench as benching
from tsugiki.evaluate import compare as comparing
from tsugiki.evaluate.compare import compare
from tsugiki.evaluate.comparison import differences
from tsugiki.evaluate.method import METHODS
from tsugiki.evaluate.result import Result
from tsugiki.train.config import read_config

KEYS = {
    *("dataset", "method", "variant", "seed", "metric", "score", "curve", "num_trainable", "trainable_share"),
    *("train_s", "cache_s", "time_to_target_s", "latency_ms_p50", "infer_flops", "peak_bytes", "serve_peak_bytes"),
    *("load_s", "package_bytes"),
}
NUMBERS = {
    **dict.fromkeys(("score", "macro_f1", "validation_score", "trainable_share", "train_s", "cache_s"), 0.5),
    **dict.fromkeys(("latency_ms_p50", "latency_ms_p50_batch32", "load_s"), 1.0),
    **dict.fromkeys(("num_trainable", "infer_flops", "peak_bytes", "serve_peak_bytes", "package_bytes"), 1),
}


def row(**own):
    facts = {"dataset": "d", "method": "m", "variant": "v", "seed": 0, "won": True, "precision": "fp32"}
    return Result(**{**facts, **NUMBERS, "learning_rate": None, "curve": ((1.0, 0.5),), **own})


def run(splits, base_folder, out, methods=("probe-last", "tfidf"), seeds=1):
    train, validation, test = splits
    config = read_config(settings={"data.illegible": "warn", "precision": "fp32", "train.epochs": 1})
    return compare(
        Splits(train, validation, test),
        dataset="tickets",
        methods=methods,
        out=out,
        seeds=seeds,
        base=str(base_folder),
        config=config,
    )


def test_a_comparison_is_written_kept_and_free_of_texts(splits, base_folder, tmp_path, monkeypatch):
    comparison = run(splits, base_folder, tmp_path)
    rows = json.loads((tmp_path / "results.json").read_text())
    assert rows == json.loads(json.dumps(comparison.rows))
    assert [(r["method"], r["seed"]) for r in rows] == [("probe-last", 0), ("tfidf", 0)]
    assert all(set(r) >= KEYS for r in rows)
    assert all(0 < r["trainable_share"] <= 1 and r["serve_peak_bytes"] > 0 for r in rows)
    assert [(d.method, d.against) for d in comparison.differences] == [("probe-last", "tfidf")]
    for name in ("table.txt", "score_by_time.png", "score_by_parameters.png", "compare.html", "differences.json"):
        assert (tmp_path / name).stat().st_size > 0

    folders = sorted((tmp_path / "runs").iterdir())
    assert len(folders) == 2
    for folder in folders:
        assert {f.name for f in folder.iterdir()} == {"job.json", "results.json", "predictions.jsonl", "log.txt"}
        answers = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
        assert [set(a) for a in answers] == [{"row", "label", "prediction"}] * 12
        assert [a["row"] for a in answers] == list(range(12))
    everything = "".join(f.read_text(errors="ignore") for f in tmp_path.rglob("*") if f.is_file())
    assert not [text for part in splits for text in part.texts if text in everything]

    monkeypatch.setattr(benching.Bench, "_work", lambda *_: pytest.fail("a run that is kept was run again"))
    again = run(splits, base_folder, tmp_path)
    assert again.rows == comparison.rows


def test_the_log_of_the_worker_is_utf8_on_any_console(tmp_path, monkeypatch):
    class Worker:
        def __init__(self, command, *, env, **_):
            started.append(env)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def terminate(self):
            pass

    started: list[dict[str, str]] = []
    monkeypatch.setenv("PYTHONIOENCODING", "cp932:strict")
    monkeypatch.setattr("tsugiki.evaluate.bench.subprocess.Popen", Worker)
    with benching.bench(tmp_path, 1):
        pass
    assert [env["PYTHONIOENCODING"] for env in started] == ["utf-8"]


def test_a_run_that_fails_says_where_to_look(job, tmp_path):
    class Worker:
        """Fails as a worker does."""

        def __init__(self):
            self.stdin, self.stdout = self, self

        def write(self, line):
            _, out = json.loads(line)
            Path(out).mkdir(parents=True)
            (Path(out) / "log.txt").write_text("Traceback\nValueError: no such layer\n")

        def flush(self):
            pass

        def readline(self):
            return "1\n"

    bar = Progress(disable=True)
    bar.add_task("")
    worker: Any = Worker()
    with pytest.raises(TrainingError) as caught:
        benching.Bench(tmp_path, worker, bar).run("full", job)
    assert caught.value.code == "compare.failed"
    assert "ValueError: no such layer" in str(caught.value)
    assert Path(str(caught.value.facts["log"])).exists()


@pytest.mark.parametrize(("test", "code"), [(None, "compare.no_test"), (Rows(("x",)), "data.no_labels")])
def test_rows_that_cannot_be_compared_on_are_refused(test, code, splits, base_folder, tmp_path):
    with pytest.raises(RowsError) as caught:
        run((*splits[:2], test), base_folder, tmp_path)
    assert caught.value.code == code


def test_too_few_domains_are_refused_before_anything_is_trained(splits, base_folder, tmp_path):
    of_one = [replace(rows, domains=("desk",) * len(rows)) for rows in splits]
    with pytest.raises(RowsError) as caught:
        run(of_one, base_folder, tmp_path)
    assert caught.value.code == "train.few_domains" and not (tmp_path / "runs").exists()


# --- what is decided -------------------------------------------------------------------------------------------------


class Bench:
    """Scores runs by their learning rate, and remembers them."""

    def __init__(self, scores):
        self.scores = scores
        self.done = []

    def run(self, name, job):
        rate = job.learning_rate and round(job.learning_rate, 6)
        self.done.append((job.seed, rate))
        own = row(seed=job.seed, learning_rate=rate, validation_score=self.scores[rate])
        return benching.Run([own.model_copy(update={"train_s": 2.0})], np.ones(3, dtype=bool))


@pytest.mark.parametrize(
    ("scores", "tried", "best"),
    [
        pytest.param({3e-5: 0.7, 1e-4: 0.9, 3e-4: 0.8}, [3e-4, 1e-4, 3e-5], 1e-4, id="the middle one"),
        pytest.param({3e-5: 0.9, 1e-4: 0.8, 3e-4: 0.7}, [3e-4, 1e-4, 3e-5], 3e-5, id="the lowest"),
        pytest.param({1e-4: 0.7, 3e-4: 0.9, 9e-4: 0.8}, [3e-4, 1e-4, 9e-4], 3e-4, id="the highest"),
        pytest.param({1e-4: 0.7, 3e-4: 0.8, 9e-4: 0.9}, [3e-4, 1e-4, 9e-4], 9e-4, id="one step above the edge"),
    ],
)
def test_the_rate_is_climbed_to_on_the_first_seed_and_its_search_is_counted_apart(scores, tried, best, job):
    bench: Any = Bench(scores)
    runs = comparing._runs(METHODS.parse({"kind": "full"}), job, [3, 4], bench)
    assert bench.done == [*((3, rate) for rate in tried), (4, best)]
    assert [(r.own.seed, r.own.train_s, r.own.sweep_s) for r in runs] == [(3, 2.0, 6.0), (4, 2.0, 6.0)]


def test_a_rate_that_is_given_is_not_searched_for(job):
    bench: Any = Bench({2e-4: 0.7})
    runs = comparing._runs(METHODS.parse({"kind": "full"}), job, [3, 4], bench, 2e-4)
    assert bench.done == [(3, 2e-4), (4, 2e-4)] and runs[0].own.sweep_s == 0.0


def test_a_method_without_a_rate_runs_once_a_seed(job):
    bench: Any = Bench({None: 0.5})
    (own,) = comparing._runs(METHODS.parse({"kind": "tfidf"}), job, [0], bench)
    assert bench.done == [(0, None)]
    assert own.own.sweep_s == 0.0


def test_a_method_that_draws_nothing_runs_once_for_all_seeds(job):
    bench: Any = Bench({None: 0.5})
    runs = comparing._runs(METHODS.parse({"kind": "probe_all"}), job, [0, 1], bench)
    assert bench.done == [(0, None)] and [run.own.seed for run in runs] == [0, 1]


def test_time_to_target_is_the_first_point_at_or_above_it():
    curve = ((1.0, 0.5), (2.0, 0.8), (3.0, 0.9))
    assert row(curve=curve).against(0.8).time_to_target_s == 2.0
    assert row(curve=curve).against(0.95).time_to_target_s is None
    assert row(curve=curve).against(None).time_to_target_s is None


def test_everything_is_compared_with_full_and_with_the_better_simple_method():
    validated = {"tsugiki": 0.9, "full": 0.9, "probe-all": 0.8, "tfidf": 0.7}
    right = {"tsugiki": [1, 1, 1, 1], "full": [1, 1, 1, 0], "probe-all": [1, 1, 0, 0], "tfidf": [1, 0, 0, 0]}
    results = [row(method=method, validation_score=score) for method, score in validated.items()]
    found = differences(results, {m: np.array([hits], dtype=bool) for m, hits in right.items()})
    assert [(d.method, d.against) for d in found] == [
        *(("tsugiki", "full"), ("probe-all", "full"), ("tfidf", "full")),
        *(("tsugiki", "probe-all"), ("full", "probe-all"), ("tfidf", "probe-all")),
    ]
    assert found[0].difference_points == 25.0
