import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsugiki.errors import ConfigError, MissingError
from tsugiki.train.config import Config, read_config


def toml(folder, text, name="run.toml"):
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def fault(settings=None, path=None):
    with pytest.raises(ConfigError) as caught:
        read_config(path, settings)
    return caught.value


def test_without_file_and_settings_everything_has_its_default():
    assert read_config() == Config()


def test_a_file_sets_what_it_names_and_leaves_the_rest(tmp_path):
    path = toml(tmp_path, 'base = "b"\n[train]\nepochs = 4\n[placement.form]\nkind = "low_rank"\nrank = 2\n')
    config = read_config(path)
    assert (config.base, config.train.epochs) == ("b", 4)
    assert config.placement.form == {"kind": "low_rank", "rank": 2}
    assert config.train.patience == Config().train.patience and config.data == Config().data


def test_settings_win_over_the_file_and_leave_its_neighbours(tmp_path):
    path = toml(tmp_path, "[train]\nepochs = 4\npatience = 2\n")
    config = read_config(path, {"train.epochs": "7", "placement.form.kind": "scale"})
    assert (config.train.epochs, config.train.patience) == (7, 2)
    assert config.placement.form == {"kind": "scale"}


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("train.learning_rate", "3e-4", 3e-4),
        ("train.trackers", '["tensorboard"]', ("tensorboard",)),
        ("data.text", "body, title", ("body", "title")),
        ("data.text", '"2024"', ("2024",)),
        ("licence", "Apache-2.0", "Apache-2.0"),
        ("train.max_rows", 9, 9),
        ("cache.enabled", "false", False),
        ("base", "a\nb = 1", "a\nb = 1"),
    ],
)
def test_strings_are_read_as_toml_where_they_can_be(key, value, found):
    config = read_config(settings={key: value})
    for part in key.split("."):
        config = getattr(config, part)
    assert config == found


def test_an_unknown_key_names_the_nearest_known_one():
    error = fault({"train.learning_rat": 1})
    assert error.code == "config.invalid" and "did you mean learning_rate?" in str(error)


def test_an_unknown_section_names_the_nearest_known_one():
    assert "did you mean placement?" in str(fault({"placment.exit": 1}))


def test_all_faults_are_reported_together(tmp_path):
    path = toml(tmp_path, "[train]\nepochs = 0\nseeed = 1\n[data]\nvalidation_share = 1.5\n")
    text = str(fault({"precision": "fp8", "placement.exit": -1}, path))
    for named in ("train.epochs", "train.seeed", "did you mean seed?", "data.validation_share", "precision", "exit"):
        assert named in text
    assert str(path) in text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("train.seed", seed) for seed in (-1, 2**32, 0.5)),
        *(("train.learning_rate", rate) for rate in ("inf", "nan", 0, -1e-3)),
        *(("train.weight_decay", decay) for decay in ("inf", "nan", -1)),
        *(("train.module_dropout", share) for share in (-0.1, 1, "nan")),
        ("train.warmup_share", 1),
        ("train.checkpoint_s", 0),
        ("data.validation_share", 0),
        ("data.max_length", 0),
        ("placement.boundary", -1),
        ("placement.exit", 0),
        ("placement.sites", []),
        ("train.max_rows", 0),
        ("cache.quota_bytes", 0),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_name(key, value):
    assert f"{key}: " in str(fault({key: value}))


def test_text_that_is_not_toml_is_refused_with_the_place(tmp_path):
    path = toml(tmp_path, "[train]\nepochs = \n")
    error = fault(path=path)
    assert error.code == "config.not_toml" and str(path) in str(error) and "line 2" in str(error)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path):
    assert fault(path=toml(tmp_path, "name = '本'".encode("cp932"))).code == "config.not_utf8"


def test_in_japanese_what_is_wrong_with_a_file_is_said_without_a_word_of_english(tmp_path, monkeypatch):
    monkeypatch.setenv("TSUGIKI_LANG", "ja")
    said = str(fault(path=toml(tmp_path, "[train]\nepochs = \n")))
    assert "2 行目の 10 文字目" in said and "Invalid" not in said
    said = str(fault(path=toml(tmp_path, "[train]\nepochs = 0\nseed = 'x'\n")))
    assert "0 より大きい値が必要ですが、'0' になっています" in said and "整数が必要ですが、'x' になっています" in said


def test_a_byte_order_mark_as_editors_on_windows_write_it_is_no_fault(tmp_path):
    assert read_config(toml(tmp_path, b"\xef\xbb\xbfname = 'a'\n")).name == "a"


@pytest.mark.parametrize("name", ["none.toml", "."])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(MissingError) as caught:
        read_config(tmp_path / name)
    assert caught.value.code == "config.missing" and str(tmp_path) in str(caught.value)


def test_a_setting_below_a_value_names_that_value():
    error = fault({"train.seed": 1, "train.seed.x": 2})
    assert error.code == "config.not_a_section" and error.facts == {"key": "train.seed.x", "section": "seed"}


def test_a_value_where_a_section_is_meant_is_refused(tmp_path):
    assert "train: " in str(fault(path=toml(tmp_path, "train = 3\n")))
    assert "train: " in str(fault({"train": "3"}))


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=12), st.text(max_size=12))
def test_no_setting_whatever_it_is_breaks_anything_but_the_config(key, value):
    try:
        config = read_config(settings={key: value})
    except ConfigError as error:
        assert str(error)
    else:
        assert isinstance(config, Config)


def test_a_config_cannot_be_changed_and_survives_its_own_json():
    config = read_config(settings={"train.epochs": 3})
    assert Config.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValueError, match="frozen"):
        config.train.epochs = 4  # type: ignore[misc]
