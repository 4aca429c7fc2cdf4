"""What each command asks of the rooms below, and how it tells what came of it."""

import json
from pathlib import Path

import pytest

from tests.cli import stand_ins
from tsugiki.data.reading import Reading

ROWS = [
    {"text": "Oil under press 4", "label": "leak"},
    {"text": "Belt stands still", "label": "jam"},
    {"text": "oily belt stopped", "label": "jam"},
    {"text": "oily rollers stuck", "label": "jam"},
]


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "adapter"
    made.mkdir()
    (made / "adapter.json").write_bytes(stand_ins.manifest().to_bytes())
    return made


@pytest.fixture
def adapter(monkeypatch):
    made = stand_ins.Adapter()
    for name in ("load", "load_either"):
        monkeypatch.setattr(f"tsugiki.api.{name}", lambda *asked: made)
    return made


@pytest.fixture
def asked(monkeypatch):
    """What training and comparing were asked for."""
    calls = {}

    def train(rows, **more):
        calls["train"] = {"rows": rows, **more}
        return stand_ins.trained()

    def compare(splits, **more):
        calls["compare"] = {"splits": splits, **more}
        return stand_ins.comparison()

    monkeypatch.setattr("tsugiki.api.train_and_report", train)
    monkeypatch.setattr("tsugiki.evaluate.compare.compare", compare)
    return calls


# --- train


def test_train_hands_everything_on(tsugiki, asked):
    line = ["--base", "b", "--config", "run.toml", "--set", "train.max_rows=20", "--set", "name=x=y"]
    line += ["--text", "t", "--label", "l", "--sheet", "s", "--encoding", "cp932"]
    line += ["--pair", "p", "--task", "tag", "--from", "old", "--domains", "d"]
    assert tsugiki("train", "rows.csv", "--out", "made", *line).code == 0
    assert asked["train"] == {
        "rows": "rows.csv",
        "base": "b",
        "out": Path("made"),
        "parent": Path("old"),
        "text": "t",
        "pair": "p",
        "label": "l",
        "domains": "d",
        "task": "tag",
        "sheet": "s",
        "encoding": "cp932",
        "config": Path("run.toml"),
        "settings": {"train.max_rows": "20", "name": "x=y"},
    }


@pytest.mark.parametrize("name", ["train", "compare"])
def test_what_is_not_to_be_kept_and_what_is_one_label_are_settings(tsugiki, asked, rows, name):
    assert tsugiki(name, rows, "--out", "made", "--no-cache", "--merge-labels").code == 0
    call = asked[name]
    found = call["settings"] if name == "train" else call["config"].model_dump()
    if name == "train":
        assert found == {"data.merge_labels": "true", "cache.enabled": "false"}
    else:
        assert found["data"]["merge_labels"] and not found["cache"]["enabled"]


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        (["--placement", "auto"], {"placement.strategy": "evidence"}),
        (["--placement", "top"], {"placement.strategy": "top"}),
        (["--max-params", "1%"], {"budget.max_params": "1%", "placement.strategy": "evidence"}),
        (
            ["--max-train-s", "9", "--placement", "random"],
            {"budget.max_train_s": "9", "placement.strategy": "random"},
        ),
    ],
)
def test_a_budget_is_for_the_strategy_that_keeps_to_it(tsugiki, asked, line, settings):
    assert tsugiki("train", "rows.csv", "--out", "made", *line).code == 0
    assert asked["train"]["settings"] == settings


def test_train_shows_every_candidate_the_verdict_the_cost_and_the_next_step(tsugiki, asked):
    shown = tsugiki("train", "rows.csv", "--out", "made").out
    for part in (
        "head ",
        "suffix 4/6 *",
        "0.812",
        "10.4",
        "Grafting pays here.",
        "11.4 s",
        "3.0 s more",
        "tsugiki predict made",
    ):
        assert part in shown


def test_train_tells_programs_the_same(tsugiki, asked):
    told = tsugiki("train", "rows.csv", "--out", "made", "--json").json
    assert told["out"] == "made"
    assert told["variant"] == "suffix 4/6"
    assert told["candidates"] == list(stand_ins.CANDIDATES)
    assert (told["predicted_s"], told["measured_s"], told["saved_s"]) == (10.4, 9.2, 3.0)


def test_train_fails_before_it_trains_where_the_folder_is_in_use(tsugiki, rows, tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "thesis.doc").touch()
    shown = tsugiki("train", rows, "--out", "made")
    assert shown.code == 6
    assert shown.err.startswith("error[package.occupied]: made ")


def test_train_leaves_nothing_where_it_fails(tsugiki, tmp_path):
    (tmp_path / "one.csv").write_text("text,label\noil,leak\nwater,leak\n", encoding="utf-8")
    shown = tsugiki("train", "one.csv", "--out", "made")
    assert shown.code == 3
    assert shown.err.startswith("error[data.one_class]: ")
    assert not (tmp_path / "made").exists()


def test_rows_that_are_not_there_are_a_sentence_in_the_language_asked_for(tsugiki):
    shown = tsugiki("train", "./rows.csv", "--out", "made", "--lang", "ja")
    assert shown.code == 4
    assert shown.err.startswith("error[rows.no_file]: ./rows.csv というファイルやフォルダーはありません。")


# --- predict


def test_predict_answers_one_text(tsugiki, adapter):
    assert tsugiki("predict", "made", "--text", "Oil [bold]here").out == "leak\t0.7500\tok\tOil [bold]here\n"


def test_predict_answers_the_rows_of_a_file_in_their_order(tsugiki, adapter, rows):
    assert [line["label"] for line in tsugiki("predict", "made", rows, "--json").lines] == [
        "leak",
        "jam",
        "leak",
        "leak",
    ]


def test_with_a_file_text_names_its_column(tsugiki, adapter, rows):
    assert tsugiki("predict", "made", rows, "--text", "label", "--json").lines[0]["text"] == "leak"
    assert tsugiki("predict", "made", rows, "--text", "body").err.startswith("error[rows.no_such_column]: ")


def test_predict_answers_lines_and_keeps_every_one(tsugiki, adapter):
    shown = tsugiki("predict", "made", "-", input="oil\r\n\nbelt\tstuck")
    assert shown.out == "leak\t0.7500\tok\toil\njam\t0.7500\tok\t\njam\t0.7500\tok\tbelt stuck\n"


def test_predict_takes_large_inputs_in_chunks(tsugiki, adapter):
    shown = tsugiki("predict", "made", "-", "--json", input="oil and rags\n" * 10_000)
    assert len(shown.lines) == sum(adapter.calls) == 10_000
    assert max(adapter.calls) <= 256


def test_predict_names_the_line_that_is_not_utf8(tsugiki, adapter):
    shown = tsugiki("predict", "made", "-", input=b"oil\n" + "油".encode("cp932"))
    assert shown.code == 3
    assert shown.err.startswith("error[rows.bad_encoding]: -, line 2:")


def test_predict_answers_japanese_in_json_as_it_is(tsugiki, adapter):
    assert '"text": "油漏れ"' in tsugiki("predict", "made", "--text", "油漏れ", "--json").out


def test_predict_writes_all_columns_and_the_answers_beside_them(tsugiki, adapter, rows):
    shown = tsugiki("predict", "made", rows, "--out", "answers.csv", "--json")
    assert shown.json == {"out": "answers.csv", "rows": 4, "review": 0}
    first, second, *_ = Path("answers.csv").read_text(encoding="utf-8-sig").splitlines()
    assert (first, second) == ("text,label,label_2,probability,needs_review", "Oil under press 4,leak,leak,0.75,False")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (["--text", "oil", "--out", "a.csv"], "cli.out_without_file"),
        (["-", "--out", "a.csv"], "cli.out_without_file"),
        (["rows.jsonl", "--out", "a.doc"], "rows.unknown_format"),
        (["rows.jsonl", "--out", "rows.jsonl"], "rows.same_file"),
        (["rows.jsonl", "--out", "a.csv", "--encoding", "utf8x"], "rows.no_such_encoding"),
    ],
)
def test_answers_that_cannot_be_written_are_refused_and_nothing_is_lost(tsugiki, adapter, rows, line, code):
    before = rows.read_bytes()
    assert tsugiki("predict", "made", *line).err.startswith(f"error[{code}]: ")
    assert rows.read_bytes() == before and not Path("a.csv").exists()


def test_pairs_are_named_by_two_columns_or_given_by_two_options(tsugiki, adapter, tmp_path):
    (tmp_path / "new.csv").write_text("order,report,text\noil it,oiled,x\n", encoding="utf-8")
    named = tsugiki("predict", "made", "new.csv", "--text", "order", "--pair", "report", "--json").lines[0]
    assert (named["text"], named["pair"]) == ("oil it", "oiled")
    adapter.reading = Reading.of(text="order", pair="report")
    assert tsugiki("predict", "made", "new.csv", "--json").lines[0]["pair"] == "oiled"
    assert tsugiki("predict", "made", "new.csv", "--text", "text", "--json").lines[0]["text"] == "x"
    single = tsugiki("predict", "made", "--text", "oil it", "--pair", "oiled", "--json").json
    assert (single["text"], single["pair"]) == ("oil it", "oiled")
    refused = tsugiki("predict", "made", "-", "--pair", "report", input="oil it\n")
    assert refused.err.startswith("error[cli.pair_of_lines]: ")


def test_predict_takes_the_columns_that_the_adapter_was_trained_on(tsugiki, adapter, tmp_path):
    adapter.reading = Reading.of(text="Fault,Machine")
    (tmp_path / "new.csv").write_text("Machine,Fault,text\nP1,oil,x\n", encoding="utf-8")
    assert tsugiki("predict", "made", "new.csv", "--json").lines[0]["text"] == "oil\nP1"
    (tmp_path / "other.csv").write_text("text\nbelt\n", encoding="utf-8")
    assert tsugiki("predict", "made", "other.csv", "--json").lines[0]["text"] == "belt"


# --- evaluate


def test_evaluate_shows_scores_by_class_and_what_is_mixed_up(tsugiki, adapter, rows):
    shown = tsugiki("evaluate", "made", rows).out
    assert "accuracy 0.500, macro-F1 0.500, on 4 rows" in shown
    assert "2 x jam was taken for leak." in shown


def test_evaluate_draws_the_confusion_where_asked(tsugiki, adapter, rows, tmp_path):
    told = tsugiki("evaluate", "made", rows, "--picture", "c.png", "--json").json
    assert told["picture"] == "c.png"
    assert told["confusion"] == [[1, 0], [2, 1]]
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_a_label_spelled_in_another_way_is_reported_and_merged_when_asked(tsugiki, adapter, tmp_path):
    content = "text,label\nOil,ＬＥＡＫ\noil,Leak \nbelt,jam\n"
    (tmp_path / "spelled.csv").write_text(content, encoding="utf-8")
    shown = tsugiki("evaluate", "made", "spelled.csv")
    assert "accuracy 0.333" in shown.out
    assert "'Leak' = 'leak'" in shown.err and "--merge-labels" in shown.err
    shown = tsugiki("evaluate", "made", "spelled.csv", "--merge-labels")
    assert "accuracy 1.000" in shown.out
    assert "2 row(s) got the usual spelling" in shown.err


# --- compare


def test_compare_hands_everything_on(tsugiki, asked, rows):
    line = ["--methods", "tsugiki, full", "--seeds", "2", "--base", "b", "--set", "train.epochs=3"]
    shown = tsugiki("compare", rows, "--out", "c", *line)
    assert (shown.code, shown.out) == (0, "the table\nWith pictures: c/compare.html\n")
    call = asked["compare"]
    assert (call["dataset"], call["methods"], call["seeds"], call["out"]) == ("rows", ["tsugiki", "full"], 2, Path("c"))
    assert (call["base"], call["config"].train.epochs, len(call["splits"].train)) == ("b", 3, 4)


def test_compare_runs_every_method_on_three_seeds_by_itself(tsugiki, asked, rows):
    told = tsugiki("compare", rows, "--out", "c", "--json").json
    assert asked["compare"]["methods"] == ["tsugiki", "full", "lora", "bias", "probe", "tfidf"]
    assert asked["compare"]["seeds"] == 3
    assert told["differences"] == [{"method": "tsugiki", "against": "full"}]
    assert (told["verdicts"], told["page"]) == (["full is best."], "c/compare.html")


def test_compare_takes_columns_from_the_file_of_settings(tsugiki, asked, tmp_path):
    (tmp_path / "rows.csv").write_text("Fault,Team\noil,leak\nbelt,jam\n", encoding="utf-8")
    (tmp_path / "run.toml").write_text('[data]\ntext = "Fault"\nlabel = "Team"\n', encoding="utf-8")
    assert tsugiki("compare", "rows.csv", "--config", "run.toml", "--out", "c").code == 0
    assert asked["compare"]["splits"].train.labels == ("leak", "jam")


def test_compare_reads_the_column_of_domains(tsugiki, asked, tmp_path):
    (tmp_path / "rows.csv").write_text("text,label,company\noil,leak,A\nbelt,jam,\n", encoding="utf-8")
    assert tsugiki("compare", "rows.csv", "--domains", "company", "--out", "c").code == 0
    assert asked["compare"]["splits"].train.domains == ("A", "")
    assert asked["compare"]["config"].data.domains == "company"


# --- inspect


def test_inspect_shows_the_manifest(tsugiki, folder):
    shown = tsugiki("inspect", folder).out
    for part in ("tickets", f"sha256:{stand_ins.manifest().digest()}", "tiny (Tiny, 6 x 32)", "suffix 4/6 *", "MIT"):
        assert part in shown


def test_inspect_gives_programs_the_manifest_and_its_digest(tsugiki, folder):
    told = tsugiki("inspect", folder, "--json").json
    assert told["digest"] == stand_ins.manifest().digest()
    assert told["data"]["num_train"] == 420


@pytest.mark.parametrize(("name", "code"), [("nowhere", "package.no_folder"), (".", "package.no_manifest")])
def test_inspect_says_what_is_missing(tsugiki, name, code):
    shown = tsugiki("inspect", name, "--json")
    assert (shown.code, shown.json["error"]["code"]) == (4, code)


# --- doctor


@pytest.fixture
def offline(monkeypatch):
    """Nobody is asked for the hub; tests/cli/test_network.py does."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_doctor_looks_at_everything(tsugiki, offline):
    told = tsugiki("doctor", "--json").json
    names = [check["name"] for check in told["checks"]]
    wanted = ["python", "machine", "torch", "speed", "base", "home", "packages"]
    assert names == [*wanted, "certificates", "token", "hub"]
    assert "TSUGIKI_HOME" in tsugiki("doctor").out


def test_doctor_fails_where_something_needed_is_missing(tsugiki, monkeypatch, offline):
    monkeypatch.setenv("TSUGIKI_HOME", "/dev/null/nowhere")
    shown = tsugiki("doctor", "--json")
    assert (shown.code, shown.json["ok"]) == (1, False)


# --- demo


def test_demo_does_everything_and_says_what_is_next(tsugiki, asked, monkeypatch):
    monkeypatch.setattr("tsugiki.evaluate.run.evaluate", evaluation)
    shown = tsugiki("demo", "--out", "d")
    assert shown.code == 0
    assert asked["train"]["out"] == Path("d/adapter")
    assert (asked["compare"]["out"], asked["compare"]["seeds"]) == (Path("d/comparison"), 1)
    for part in ("leak  0.75  Oil is dripping", "the table", "tsugiki train rows.csv"):
        assert part in shown.out
    assert "420" in shown.err


def test_demo_tells_programs_too(tsugiki, asked, monkeypatch):
    monkeypatch.setattr("tsugiki.evaluate.run.evaluate", evaluation)
    told = tsugiki("demo", "--json").json
    assert (told["out"], len(told["answers"])) == ("tsugiki-demo", 3)


def evaluation(adapter, rows, review=None):
    from tsugiki.data.rows import Rows
    from tsugiki.evaluate.metrics import class_scores
    from tsugiki.evaluate.run import Evaluation

    labels = ("leak", "jam")
    classes = tuple(class_scores(Rows(labels, labels), labels, labels))
    assert isinstance(rows, Rows)
    return Evaluation(1.0, "accuracy", 1.0, 2, labels, classes, ((1, 0), (0, 1)))
