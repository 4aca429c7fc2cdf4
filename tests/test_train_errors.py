"""Whatever is wrong with a call to train, it ends in one sentence that names it, and leaves no half of a package."""

import pytest

import tsugiki
from tests.support.bases import tiny_base_folder
from tests.support.runs import SETTINGS, easy_splits
from tsugiki import i18n
from tsugiki.errors import (
    BaseModelError,
    ConfigError,
    MissingError,
    PackageError,
    RowsError,
    TrainingError,
    TsugikiError,
)


def pairs(rows):
    return list(zip(rows.texts, rows.labels, strict=True))


SPLITS = easy_splits()
ROWS = {"train": pairs(SPLITS.train), "validation": pairs(SPLITS.validation)}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base_folder(tmp_path_factory.mktemp("base"))


def fault(tmp_path, rows=ROWS, *, base=None, text=None, label=None, config=None, **settings):
    """The error of a call, told in both languages."""
    chosen = {**SETTINGS, "placement.strategy": "top", **{k.replace("__", "."): v for k, v in settings.items()}}
    out = tmp_path / "out"
    with pytest.raises(TsugikiError) as caught:
        tsugiki.train(rows, base=base, out=out, text=text, label=label, config=config, settings=chosen)
    assert not out.exists()
    told = {}
    for language in i18n.languages():
        i18n.use_language(language)
        told[language] = str(caught.value)
    i18n.use_language(None)
    assert len(set(told.values())) == len(told) and all("{" not in text for text in told.values())
    assert caught.value.exit_code > 1
    return caught.value


# The rows, the settings, then what comes of them.
FAULTS = [
    ([], {}, RowsError, "rows.empty", ""),
    ([{"text": "a", "label": "x"}], {}, RowsError, "data.one_class", "x"),
    ([{"text": "a"}, {"text": "b"}], {}, RowsError, "rows.no_label", "text"),
    (ROWS, {"text": "body"}, RowsError, "rows.no_such_column", "body"),
    ("/nowhere/rows.csv", {}, MissingError, "rows.no_file", "/nowhere/rows.csv"),
    (ROWS, {"config": "/nowhere/run.toml"}, MissingError, "config.missing", "/nowhere/run.toml"),
    (ROWS, {"train__epoch": 3}, ConfigError, "config.invalid", "epochs"),
    (ROWS, {"train__seed": -1}, ConfigError, "config.invalid", "train.seed"),
    (ROWS, {"train__max_rows": 1}, ConfigError, "train.max_rows", "3"),
    (ROWS, {"train__trackers": ["tensorbord"]}, ConfigError, "train.no_tracker", "tensorbord"),
    (ROWS, {"placement__strategy": "topp"}, ConfigError, "config.no_such_member", "top"),
    (ROWS, {"placement__boundary": 4}, ConfigError, "placement.boundary", "0..3"),
    (ROWS, {"placement__exit": 9}, ConfigError, "placement.exit", "1..4"),
    (ROWS, {"placement__sites": ["mlp.dwn"]}, BaseModelError, "base.no_site", "mlp.down"),
    (ROWS, {"base": "/nowhere/base"}, MissingError, "base.no_folder", "/nowhere/base"),
    (ROWS, {"base": "gpt-4o"}, BaseModelError, "base.api_only", "gpt-4o"),
    (ROWS, {"train__learning_rate": 1e30}, TrainingError, "train.not_a_number", "1e+30"),
]


@pytest.mark.parametrize(("rows", "call", "kind", "code", "named"), FAULTS, ids=[f"{f[3]}-{f[4]}" for f in FAULTS])
def test_every_fault_is_one_sentence_that_names_it(base, tmp_path, rows, call, kind, code, named):
    error = fault(tmp_path, rows, **{"base": base, **call})
    assert (type(error), error.code) == (kind, code) and named in str(error)


def test_a_folder_in_use_is_refused_before_anything_is_trained(base, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "notes.txt").write_text("keep me")
    with pytest.raises(PackageError) as caught:
        tsugiki.train(ROWS, base=base, out=out, settings=SETTINGS)
    assert caught.value.code == "package.occupied" and (out / "notes.txt").read_text() == "keep me"
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("strategy", ["head", "top"])
def test_after_a_fault_the_same_call_without_it_succeeds(base, tmp_path, own_home, strategy):
    fault(tmp_path, base=base, train__learning_rate=1e30)
    settings = {**SETTINGS, "placement.strategy": strategy}
    adapter = tsugiki.train(ROWS, base=base, out=tmp_path / "out", settings=settings)
    assert adapter.predict("oil leak")[0].label == "wet"
    assert tsugiki.load(tmp_path / "out").predict("oil leak")[0].label == "wet"
    adapter.close()


def test_a_faulty_run_is_kept_to_go_on_and_a_good_one_is_not(base, tmp_path, own_home):
    fault(tmp_path, base=base, train__learning_rate=1e30)
    assert len(list((own_home / "runs").iterdir())) == 1
    tsugiki.train(ROWS, base=base, settings={**SETTINGS, "placement.strategy": "top"}).close()
    assert len(list((own_home / "runs").iterdir())) == 1


# --- rows as objects


@pytest.mark.parametrize("kind", ["DataFrame", "Dataset", "DatasetDict"])
def test_rows_may_be_what_a_notebook_has(base, kind):
    import datasets
    import pandas

    tables = {split: {"text": [t for t, _ in rows], "label": [c for _, c in rows]} for split, rows in ROWS.items()}
    given = {
        "DataFrame": lambda: pandas.DataFrame(tables["train"]),
        "Dataset": lambda: datasets.Dataset.from_dict(tables["train"]),
        "DatasetDict": lambda: datasets.DatasetDict({k: datasets.Dataset.from_dict(t) for k, t in tables.items()}),
    }[kind]()
    adapter = tsugiki.train(given, base=base, settings={**SETTINGS, "placement.strategy": "head"})
    assert {answer.label for answer in adapter.predict(SPLITS.train.texts)} <= set(SPLITS.train.labels)
    adapter.close()
