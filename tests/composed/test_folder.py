"""Sets of adapters: what is refused, and what is written."""

import json

import pytest

from tsugiki.adapt.package import FILES, load_package
from tsugiki.composed.folder import compose, is_set, load_set
from tsugiki.errors import ConfigError, MissingError, PackageError, RoutingError


def made(folders, *names, **settings):
    return compose([folders / name for name in names], name="set", **settings)


def test_a_set_that_is_saved_is_the_same_when_it_is_loaded(folders, tmp_path):
    found = made(folders, "suffix", "letters", share=0.1)
    found.save(tmp_path / "set")
    again = load_set(tmp_path / "set")
    assert is_set(tmp_path / "set") and not is_set(folders / "suffix")
    assert again.composition == found.composition and again.composition.digest() == found.composition.digest()
    assert again.names == ("suffix", "letters") and again.composition.share == 0.1


def test_members_stand_in_it_byte_for_byte_and_are_adapters_themselves(folders, tmp_path):
    found = made(folders, "suffix", "letters")
    found.save(tmp_path / "set")
    for name, member in zip(("suffix", "letters"), found.composition.members, strict=True):
        place = tmp_path / "set" / member.folder
        assert all((place / file).read_bytes() == (folders / name / file).read_bytes() for file in FILES)
        assert load_package(place).digest == member.package


def test_a_member_joins_and_touches_none_of_the_others(folders, tmp_path):
    made(folders, "suffix", "letters", share=0.1, router={"kind": "threshold"}).save(tmp_path / "set")
    before = {path: path.read_bytes() for path in (tmp_path / "set").rglob("members/*/*")}
    onto = load_set(tmp_path / "set")
    compose([folders / "low"], name="set", onto=onto).save(tmp_path / "set")
    again = load_set(tmp_path / "set")
    assert again.names == ("suffix", "letters", "low")
    assert (again.composition.router["kind"], again.composition.share) == ("threshold", 0.1)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_adapters_of_different_bases_are_refused(folders):
    with pytest.raises(PackageError) as error:
        made(folders, "suffix", "stranger")
    assert error.value.code == "compose.other_base"
    assert "'suffix'" in str(error.value) and "'stranger'" in str(error.value)


def test_two_adapters_of_one_name_are_refused(folders):
    with pytest.raises(PackageError) as error:
        made(folders, "suffix", "letters", "suffix")
    assert error.value.code == "compose.name_twice"


def test_a_router_that_is_not_there_is_refused(folders):
    with pytest.raises(ConfigError) as error:
        made(folders, "suffix", router={"kind": "topk"})
    assert error.value.code == "config.no_such_member" and "top_k" in str(error.value)


def test_a_router_that_asks_for_more_adapters_than_there_are_is_refused(folders):
    with pytest.raises(RoutingError) as error:
        made(folders, "suffix", "letters", router={"kind": "top_k", "k": 3})
    assert error.value.code == "routing.k" and "1..2" in str(error.value)


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_a_share_that_is_none_is_refused(folders, share):
    with pytest.raises(ConfigError) as error:
        made(folders, "suffix", share=share)
    assert error.value.code == "config.invalid" and "share" in str(error.value)


def test_where_there_is_no_set_that_is_said(tmp_path, folders):
    for place in (tmp_path / "nowhere", folders / "suffix"):
        with pytest.raises(MissingError) as error:
            load_set(place)
        assert error.value.code == "compose.no_set"


def test_a_set_is_not_taken_for_an_adapter(folders, tmp_path):
    made(folders, "suffix", "letters").save(tmp_path / "set")
    with pytest.raises(PackageError) as error:
        load_package(tmp_path / "set")
    assert error.value.code == "package.is_set"


def test_a_member_that_was_exchanged_is_refused(folders, tmp_path):
    found = made(folders, "suffix", "letters")
    found.save(tmp_path / "set")
    for file in FILES:
        content = (folders / "low" / file).read_bytes()
        (tmp_path / "set" / found.composition.members[0].folder / file).write_bytes(content)
    with pytest.raises(PackageError) as error:
        load_set(tmp_path / "set")
    assert error.value.code == "compose.other_member"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"schema_version": 99}, "package.schema"),
        ({"members": []}, "package.fields"),
        ({"share": 0}, "package.fields"),
        ({"surprise": 1}, "package.fields"),
        ({}, "package.not_canonical"),  # the same, with other blanks
        (None, "package.not_json"),
    ],
)
def test_a_damaged_composition_is_refused(folders, tmp_path, change, code):
    made(folders, "suffix").save(tmp_path / "set")
    path = tmp_path / "set" / "composition.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    path.write_text("{" if change is None else json.dumps({**facts, **change}), encoding="utf-8")
    with pytest.raises(PackageError) as error:
        load_set(tmp_path / "set")
    assert error.value.code == code


def test_something_else_in_the_folder_is_not_overwritten(folders, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(PackageError) as error:
        made(folders, "suffix").save(tmp_path / "set")
    assert error.value.code == "package.occupied" and (tmp_path / "set" / "thesis.txt").exists()
