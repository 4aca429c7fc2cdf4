"""What holds whatever the format: nothing half written, nothing of others overwritten, and a page that explains it."""

import json
import re

import pytest

from tests.support.models import LAYERS
from tests.support.packages import packed, projections
from tsugiki.errors import ConfigError, ExportError, PackageError
from tsugiki.export import EXPORTS, FACTS, README, Export, export, format_of
from tsugiki.manifest import HeadFacts

MEAN = HeadFacts(states=(2, LAYERS), temperature=2.0)


@pytest.fixture
def package(base_at):
    return packed(base_at(), projections(base_at(), 3), head=MEAN, licence="MIT", usage_terms="Only for *tickets*.")


def listing(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "home")


def test_there_are_the_formats_that_are_documented():
    assert {"peft", "merged", "onnx"} <= set(EXPORTS.names())


@pytest.mark.parametrize(("name", "near"), [("pefft", "peft"), ("onxx", "onnx"), ("_merged", "merged")])
def test_a_format_that_is_not_there_is_answered_with_those_that_are(name, near):
    with pytest.raises(ConfigError) as refused:
        format_of(name)
    assert refused.value.code == "export.no_such_format"
    assert f"there are {', '.join(EXPORTS.names())}." in str(refused.value)
    assert str(refused.value).endswith(f"Did you mean {near}?")


def test_a_file_that_begins_with_an_underscore_is_no_format():
    assert not [name for name in EXPORTS.names() if name.startswith("_")]


def test_an_export_says_what_it_is_to_people_and_to_programs(package, tmp_path):
    runners = export(package, format_of("peft"), tmp_path / "out")
    page = (tmp_path / "out" / README).read_text(encoding="utf-8")
    assert f"sha256:{package.digest}" in page and 'license: "mit"' in page and r"Only for \*tickets\*." in page
    for runner, code in runners.items():
        assert f"{runner}:\n\n```\n{code}\n```" in page
    facts = json.loads((tmp_path / "out" / FACTS).read_bytes())
    assert facts["format"] == "peft" and facts["package"] == package.digest
    assert facts["labels"] == package.manifest.task["labels"] and facts["max_length"] == 32
    assert sorted([*facts["files"], FACTS]) == listing(tmp_path / "out")


def test_an_export_replaces_an_earlier_one_of_any_format(base_at, package, tmp_path):
    export(package, format_of("merged"), tmp_path / "out")
    export(packed(base_at(), projections(base_at(), 2)), format_of("peft"), tmp_path / "out")
    assert listing(tmp_path / "out") == [README, "adapter_config.json", "adapter_model.safetensors", FACTS]
    assert listing(tmp_path) == ["out"]


@pytest.mark.parametrize("mine", [{}, {FACTS: "{"}, {FACTS: '{"files": ["a"]}', "a": "", "mine": ""}])
def test_a_folder_that_is_not_an_earlier_export_is_left_alone(package, tmp_path, mine):
    files = {"config.json": "{}"} | mine
    (tmp_path / "out").mkdir()
    for name, content in files.items():
        (tmp_path / "out" / name).write_text(content)
    with pytest.raises(PackageError) as refused:
        export(package, format_of("merged"), tmp_path / "out")
    assert refused.value.code == "package.occupied"
    assert listing(tmp_path / "out") == sorted(files)


@pytest.mark.parametrize("before", [False, True])
def test_nothing_is_left_of_an_export_that_fails_on_its_way(package, tmp_path, monkeypatch, before):
    if before:
        export(package, format_of("peft"), tmp_path / "out")
    held = listing(tmp_path / "out") if before else None

    class Torn(Export):
        kind: str = "torn"

        def check(self, package):
            pass

        def open_base(self, package, name):
            return None

        def write(self, package, base, folder):
            (folder / "half").write_bytes(b"x")
            raise ExportError("export.no_classes", package="it", format=self.kind)

    with pytest.raises(ExportError):
        export(package, Torn(), tmp_path / "out")
    assert listing(tmp_path) == (["out"] if before else [])
    assert not before or listing(tmp_path / "out") == held


def test_every_format_that_is_named_in_an_error_exists():
    from tsugiki import i18n

    for language in i18n.languages():
        texts = [text for key, text in i18n.catalogue(language).items() if key.startswith("export.")]
        named = {name for text in texts for name in re.findall(r"--format ([a-z]+)", text)}
        assert named and named <= set(EXPORTS.names()), language
