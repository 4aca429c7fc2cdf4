"""`tsugiki compose`: a set is written, joined and asked; what cannot be one is refused and leaves nothing behind."""

import json
from pathlib import Path

import pytest

from tests.support.members import letter_rows, train_members
from tests.support.runs import easy_rows


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return train_members(tmp_path_factory.mktemp("members"))


@pytest.fixture
def recorded(tmp_path):
    texts = [*easy_rows(20, seed=3).texts, *letter_rows(20, seed=3).texts]
    path = tmp_path / "recorded.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts), encoding="utf-8")
    return path


@pytest.mark.parametrize(("language", "said"), [("en", "loses at most"), ("ja", "見落としの上限")])
def test_a_set_is_written_and_says_what_each_adapter_is_sure_to_keep(tsugiki, folders, language, said):
    line = ("compose", folders / "suffix", folders / "letters", "--out", "desk")
    found = tsugiki(*line, "--lang", language)
    assert found.code == 0, found.err
    assert said in found.out and "suffix" in found.out and "letters" in found.out
    told = tsugiki(*line, "--json").json
    assert [member["name"] for member in told["members"]] == ["suffix", "letters"]
    assert all(member["num_rows"] == 60 and 0 < member["share"] < 0.05 for member in told["members"])


def test_an_input_is_answered_by_its_adapter_and_says_by_whom(tsugiki, folders, recorded):
    tsugiki("compose", folders / "suffix", folders / "letters", "--out", "desk", "--max-lost", 0.04)
    answers = tsugiki("predict", "desk", recorded, "--json").lines
    assert {answer["adapter"] for answer in answers[:20]} <= {"suffix", None}
    assert {answer["adapter"] for answer in answers[20:]} <= {"letters", None}
    assert sum(answer["adapter"] is not None for answer in answers) > 30
    first = tsugiki("predict", "desk", "--text", answers[0]["text"]).out.split("\t")
    assert first[0] == (answers[0]["label"] or "-") and first[3] == (answers[0]["adapter"] or "-")
    assert tsugiki("predict", "desk", recorded, "--out", "answers.csv").code == 0
    assert "adapter" in Path("answers.csv").read_text(encoding="utf-8-sig").splitlines()[0]


def test_what_joins_is_told_by_how_many_inputs_take_another_route(tsugiki, folders, recorded):
    tsugiki("compose", folders / "suffix", "--out", "desk")
    before = {path: path.read_bytes() for path in Path("desk").rglob("members/*/*")}
    line = ("compose", "--add", folders / "letters", "--out", "desk", "--rows", recorded)
    told = tsugiki(*line, "--json").json
    assert told["rows"] == 40 and 15 <= told["moved"] <= 20 and told["counts"]["letters"] == told["moved"]
    assert all(path.read_bytes() == content for path, content in before.items())
    # Nothing joins twice.
    assert "compose.name_twice" in tsugiki(*line).err


@pytest.mark.parametrize(("language", "said"), [("en", "Learnt from 40 rows"), ("ja", "40 行から学びました")])
def test_rows_that_name_their_adapters_teach_the_router(tsugiki, folders, tmp_path, language, said):
    rows = [(text, "suffix") for text in easy_rows(20, seed=3).texts]
    rows += [(text, "leters") for text in letter_rows(20, seed=3).texts]
    path = tmp_path / "named.jsonl"
    line = ("compose", folders / "suffix", folders / "letters", "--out", "desk", "--rows", path, "--domains", "whose")
    path.write_text("\n".join(json.dumps({"text": t, "whose": w}) for t, w in rows), encoding="utf-8")
    assert "leters" in tsugiki(*line).err
    path.write_text(path.read_text(encoding="utf-8").replace("leters", "letters"), encoding="utf-8")
    found = tsugiki(*line, "--lang", language)
    assert found.code == 0 and said in found.out and "leters" not in found.err
    told = tsugiki(*line, "--json").json["taught"]
    assert told["rows"] == 40 and 0.8 < told["before"] <= told["after"] <= 1


@pytest.mark.parametrize(("language", "said"), [("en", "where it is named"), ("ja", "指名すると")])
def test_a_set_is_evaluated_beside_adapters_that_are_named(tsugiki, folders, tmp_path, language, said):
    tsugiki("compose", folders / "suffix", folders / "letters", "--out", "desk")
    rows = [(easy_rows(20, seed=3), "suffix"), (letter_rows(20, seed=3), "letters")]
    lines = [
        {"text": text, "label": label, "whose": whose}
        for part, whose in rows
        for text, label in zip(part.texts, part.labels, strict=True)
    ]
    path = tmp_path / "labelled.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    found = tsugiki("evaluate", "desk", path, "--domains", "whose", "--lang", language)
    assert found.code == 0 and said in found.out, found.err
    told = tsugiki("evaluate", "desk", path, "--domains", "whose", "--json").json
    assert (told["num_rows"], told["own"], told["foreign"]) == (40, 40, 0)
    assert told["routed"] <= told["named"]
    assert said not in tsugiki("evaluate", "desk", path, "--lang", language).out
    for option in (["--picture", "it.png"], ["--coverage", "it.png"], ["--merge-labels"], ["--target-precision", 0.9]):
        assert "evaluate.of_one_adapter" in tsugiki("evaluate", "desk", path, *option).err


def test_inspect_shows_the_members(tsugiki, folders):
    tsugiki("compose", folders / "suffix", folders / "letters", "--out", "desk")
    found = tsugiki("inspect", "desk")
    assert found.code == 0 and "suffix" in found.out and "letters" in found.out
    assert tsugiki("inspect", "desk", "--json").json["kind"] == "composition"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (["--out", "desk"], "compose.nothing"),
        (["suffix", "--add", "letters", "--out", "desk"], "compose.both"),
        (["--add", "letters", "--out", "nowhere"], "compose.no_set"),
        (["suffix", "stranger", "--out", "desk"], "compose.other_base"),
        (["suffix", "suffix", "--out", "desk"], "compose.name_twice"),
        (["suffix", "nowhere", "--out", "desk"], "package.no_folder"),
        (["suffix", "--out", "desk", "--domains", "whose"], "compose.domains_without_rows"),
    ],
)
def test_what_cannot_be_a_set_is_refused_and_leaves_nothing(tsugiki, folders, line, code):
    names = {"suffix", "letters", "stranger", "nowhere"}
    given = [
        folders / word if word in names and before != "--out" else word
        for before, word in zip(["", *line], line, strict=False)
    ]
    found = tsugiki("compose", *given)
    assert found.code != 0 and code in found.err and not Path("desk").exists()


def test_what_is_settled_stays_when_an_adapter_joins(tsugiki, folders):
    tsugiki("compose", folders / "suffix", "--out", "desk")
    found = tsugiki("compose", "--add", folders / "letters", "--out", "desk", "--max-lost", 0.2)
    assert found.code != 0 and "compose.settled" in found.err


@pytest.mark.parametrize("command", ["ablate", "export"])
def test_commands_for_one_adapter_refuse_a_set(tsugiki, folders, recorded, command):
    tsugiki("compose", folders / "suffix", "--out", "desk")
    rest = {"ablate": [recorded, "--out", "out"], "export": ["--out", "out"]}
    found = tsugiki(command, "desk", *rest[command])
    assert found.code != 0 and "package.is_set" in found.err
