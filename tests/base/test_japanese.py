"""A base whose tokenizer splits Japanese words with MeCab, by the packages of the extra `ja`."""

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.models import tiny
from tests.support.runs import quick_config
from tsugiki.base.digest import tokenizer_digest
from tsugiki.base.model import load_base
from tsugiki.data.rows import Rows, Splits
from tsugiki.errors import MissingError
from tsugiki.tasks.adapter import Adapter
from tsugiki.train.run import train_adapter

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PIECES = [*_SPECIAL, "油", "漏れ", "ポンプ", "ベルト", "停止", "が", "の", "から", "##れ"]

needs_mecab = pytest.mark.skipif(
    find_spec("fugashi") is None or find_spec("unidic_lite") is None,
    reason="fugashi and unidic-lite are not installed (the extra `ja`)",
)


@pytest.fixture
def folder(tmp_path):
    """A tiny BERT with a Japanese tokenizer, as its authors publish such: a vocabulary and settings."""
    path = tmp_path / "base"
    tiny("bert").save_pretrained(path)  # type: ignore[operator]
    (path / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab", "model_max_length": 64}
    settings |= {"subword_tokenizer_type": "wordpiece", "mecab_kwargs": {"mecab_dic": "unidic_lite"}}
    (path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return path


def changed(folder: Path, name: str, **settings: object) -> Path:
    """A copy with other settings of its tokenizer."""
    copy = Path(shutil.copytree(folder, folder.parent / name))
    said = json.loads((copy / "tokenizer_config.json").read_text(encoding="utf-8"))
    (copy / "tokenizer_config.json").write_text(json.dumps(said | settings), encoding="utf-8")
    return copy


@needs_mecab
def test_it_is_loaded_trained_and_answers(folder, tmp_path):
    wet = [f"{where}から油が漏れる{i}" for i in range(12) for where in ("ポンプ", "の")]
    stuck = [f"{what}ベルトが停止{i}" for i in range(12) for what in ("ポンプの", "の")]
    texts, labels = (*wet, *stuck), ("漏れ",) * 24 + ("停止",) * 24
    rows = Rows(texts[::2] + texts[1::2], labels[::2] + labels[1::2])
    splits = Splits(rows.take(range(36)), rows.take(range(36, 48)), None)
    trained = train_adapter(splits, quick_config(folder))
    trained.adapter.save(tmp_path / "adapter")
    answers = Adapter.load(tmp_path / "adapter").predict(["油が漏れた", "ベルトが停止した"])
    assert [answer.label for answer in answers] == ["漏れ", "停止"]


@needs_mecab
def test_its_words_are_those_of_the_dictionary(folder):
    tokenizer = load_base(folder, precision="fp32").tokenizer
    assert tokenizer.convert_ids_to_tokens(tokenizer("油が漏れる")["input_ids"])[1:3] == ["油", "が"]


@needs_mecab
def test_its_digest_does_not_hang_on_where_it_lies(folder, tmp_path):
    one, other = folder, changed(folder, "elsewhere")
    assert load_base(one, precision="fp32").tokenizer_digest == load_base(other, precision="fp32").tokenizer_digest


@needs_mecab
@pytest.mark.parametrize(
    "settings",
    [{"do_lower_case": True}, {"subword_tokenizer_type": "character"}, {"word_tokenizer_type": "basic"}],
)
def test_its_digest_is_another_with_other_settings(folder, settings):
    other = changed(folder, "other", **settings)
    assert load_base(folder, precision="fp32").tokenizer_digest != load_base(other, precision="fp32").tokenizer_digest


@pytest.mark.parametrize("package", ["fugashi", "unidic_lite"])
def test_without_the_extra_it_is_named(folder, monkeypatch, package):
    if package == "unidic_lite" and find_spec("fugashi") is None:
        pytest.skip("fugashi is not installed (the extra `ja`)")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingError) as caught:
        load_base(folder, precision="fp32")
    assert caught.value.code == "base.no_package"
    assert "pip install 'tsugiki[ja]'" in str(caught.value) and package.replace("_", "-") in str(caught.value)


# --- the dictionary, without MeCab ------------------------------------------------------------------------------------


class Words:
    """A tokenizer over a dictionary of MeCab, which is only looked at."""

    init_kwargs = {"mecab_kwargs": {"mecab_dic": "unidic_lite"}, "name_or_path": "anywhere"}

    def __init__(self, folder: Path) -> None:
        facts = {"filename": str(folder / "sys.dic"), "charset": "utf8", "size": 3, "version": 102}
        self.word_tokenizer = SimpleNamespace(mecab=SimpleNamespace(dictionary_info=[facts]))

    def get_vocab(self):
        return {"油": 0}


@pytest.fixture
def dictionary(tmp_path):
    folder = tmp_path / "dictionary"
    folder.mkdir()
    (folder / "sys.dic").write_bytes(bytes(range(256)) * 4096)
    (folder / "matrix.bin").write_bytes(b"costs")
    (folder / "dicrc").write_bytes(b"of output only")
    return folder


@pytest.mark.parametrize("change", ["inserted", "appended", "costs", "unknown words"])
def test_another_release_of_the_dictionary_is_another_tokenizer(dictionary, change):
    before = tokenizer_digest(Words(dictionary))
    words = (dictionary / "sys.dic").read_bytes()
    if change == "inserted":  # all behind it moves
        (dictionary / "sys.dic").write_bytes(words[:5000] + b"new" + words[5000:])
    elif change == "appended":
        (dictionary / "sys.dic").write_bytes(words + b"new")
    elif change == "costs":
        (dictionary / "matrix.bin").write_bytes(b"c0sts")
    else:
        (dictionary / "unk.dic").write_bytes(b"others")
    assert tokenizer_digest(Words(dictionary)) != before


def test_the_same_dictionary_elsewhere_is_the_same_tokenizer(dictionary, tmp_path):
    before = tokenizer_digest(Words(dictionary))
    (dictionary / "dicrc").write_bytes(b"changed")
    assert tokenizer_digest(Words(Path(shutil.copytree(dictionary, tmp_path / "copy")))) == before
