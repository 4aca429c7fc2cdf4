"""Files are read in the encoding they are in, and refused where that would be a guess."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.data.encodings import decode
from tsugiki.errors import ConfigError, RowsError

JAPANESE = "本文,分類\n①号機 ㈱髙橋 油漏れ,漏れ\nﾎﾟﾝﾌﾟが停止,停止\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_japanese_is_read_in_every_encoding_that_windows_writes(encoding):
    assert decode("a.csv", JAPANESE.encode(encoding))[0] == JAPANESE


@pytest.mark.parametrize(("encoding", "said"), [("utf-8", False), ("utf-8-sig", False), ("cp932", True)])
def test_what_is_not_plain_utf8_is_said(encoding, said, caplog):
    with caplog.at_level(logging.INFO, "tsugiki"):
        assert decode("a.csv", JAPANESE.encode(encoding))[1] == encoding
    assert (encoding in caplog.text) is said


@given(st.text(st.sampled_from("油漏れポンプ停止のが異常音①㈱髙。、ー,ﾓｰﾀﾍﾞﾘﾝｸﾞ\n"), max_size=30))
def test_japanese_of_windows_survives_with_what_shift_jis_lacks(text):
    whole = f"油漏れのポンプが停止{text}"
    assert decode("a.txt", whole.encode("cp932"))[0] == whole


@pytest.mark.parametrize(
    "text",
    [
        "本文,分類\nﾓｰﾀｰが停止した,ﾓｰﾀｰ\nﾎﾟﾝﾌﾟから油が漏れている,ﾎﾟﾝﾌﾟ\n",
        "日付,機種,症状,原因\n" + 50 * "4/1,ﾌﾟﾚｽ3号機,ﾓｰﾀｰ異音あり,ﾍﾞｱﾘﾝｸﾞ摩耗\n",
        "text,label\n髙橋,㈱\n",
    ],
)
def test_half_width_katakana_and_names_of_people_are_japanese_of_windows(text):
    assert decode("a.csv", text.encode("cp932")) == (text, "cp932")


@given(st.text())
def test_any_utf8_survives(text):
    data = text.encode("utf-8", "replace")
    assert decode("a.txt", data)[0] == data.decode().removeprefix("\ufeff") or b"\0" in data


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        pytest.param("été déjà vu, Straße, naïve Ångström\n" * 5, "cp1252", id="Western"),
        pytest.param("油漏れ、異常音が発生した。\n" * 5, "euc-jp", id="EUC-JP"),
        pytest.param("Ошибка датчика\n" * 5, "cp1251", id="Cyrillic"),
        pytest.param("ОШИБКА ДАТЧИКА\n" * 5, "cp1251", id="Cyrillic capitals"),
        pytest.param("あれがそれになった\n" * 5, "euc-jp", id="EUC-JP, no kanji"),
        pytest.param("ÄÖÜ STRASSE ÜBER ALLES\n" * 5, "cp1252", id="German capitals"),
    ],
)
def test_other_encodings_are_refused_and_not_read_as_rare_kanji(text, encoding):
    data = text.encode(encoding)
    with pytest.raises(RowsError) as caught:
        decode("a.csv", data)
    assert caught.value.code == "rows.not_utf8"
    assert decode("a.csv", data, encoding)[0] == text


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_file_of_two_encodings_names_a_line_of_each(mark):
    data = mark + b"text,label\n" + "油漏れ,漏れ\n".encode() + "異常音が発生,音\n".encode("cp932")
    with pytest.raises(RowsError) as caught:
        decode("a.csv", data)
    assert caught.value.code == "rows.mixed_encodings"
    assert (caught.value.facts["first"], caught.value.facts["second"]) == (2, 3)


def test_a_file_of_two_encodings_is_explained_in_japanese(monkeypatch):
    monkeypatch.setenv("TSUGIKI_LANG", "ja")
    with pytest.raises(RowsError) as caught:
        decode("混在.csv", "油漏れ\n".encode() + "異常音が発生\n".encode("cp932"))
    said = "混在.csv には 2 つの文字コードが混ざっています。1 行目は UTF-8、2 行目は CP932 です。"
    assert str(caught.value).startswith(said)


def test_an_encoding_that_is_named_is_taken_at_its_word():
    assert decode("a.csv", "é".encode("cp1252"), "cp1252") == ("é", "cp1252")
    with pytest.raises(RowsError) as caught:
        decode("a.csv", b"a\n" + "油".encode("cp932"), "utf-8")
    assert caught.value.code == "rows.bad_encoding" and caught.value.facts["line"] == 2
    with pytest.raises(ConfigError) as unknown:
        decode("a.csv", b"a", "utf-9")
    assert unknown.value.code == "rows.no_such_encoding"
