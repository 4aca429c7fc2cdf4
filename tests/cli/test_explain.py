"""`tsugiki explain`: sentences, a table, a picture, in both languages."""

from pathlib import Path

import pytest

from tests.support.members import train_members


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return train_members(tmp_path_factory.mktemp("members"))


SAID = {"en": "The largest effect is that of layer", "ja": "効果が最も大きいのは第"}


@pytest.mark.parametrize(("language", "said"), SAID.items())
def test_it_says_what_acted_and_draws_it(tsugiki, folders, language, said):
    line = ("explain", folders / "low", "--text", "oil leak at the pump")
    found = tsugiki(*line, "--picture", "pictures/bars.png", "--lang", language)
    assert found.code == 0, found.err
    assert said in found.out and "low" in found.out
    assert Path("pictures/bars.png").read_bytes().startswith(b"\x89PNG")
    told = tsugiki(*line, "--json").json
    assert [player["layer"] for player in told["players"]] == [1, 2, 3]


@pytest.mark.parametrize(("language", "said"), [("en", "No module acts"), ("ja", "モジュールは働いていません")])
def test_where_no_module_acts_there_is_no_picture(tsugiki, folders, language, said):
    line = ("explain", folders / "head", "--text", "oil leak", "--picture", "bars.png", "--lang", language)
    found = tsugiki(*line)
    assert found.code == 0 and said in found.out and not Path("bars.png").exists()


def test_of_a_set_it_says_whom_an_input_is_like(tsugiki, folders):
    tsugiki("compose", folders / "low", folders / "letters", "--out", "desk")
    found = tsugiki("explain", "desk", "--text", "g g g h h h g h g h g g h i i i i l l l")
    assert found.code == 0 and "No adapter of the set knows" in found.out and "letters" in found.out
