"""Japanese labels are drawn as they are, on a machine without any Japanese font."""

import json
import warnings
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

import matplotlib
import pytest
from matplotlib.figure import Figure

from tests.report.conftest import row
from tsugiki import i18n
from tsugiki.report import fonts, plots

TICKETS = [
    json.loads(line)
    for split in ("train", "validation", "test")
    for line in (files("tsugiki") / "demo" / "tickets_ja" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
]
NAMES = ("油圧・空圧", "電気", "寸法不良", "ｾﾝｻｰ(ﾎﾟﾝﾌﾟ)", "搬送詰まり", "①号機", "㈱髙﨑", "🛢️油漏れ", "𠮟責～〜")
LABELS = (*sorted({ticket["label"] for ticket in TICKETS}), *NAMES)


@pytest.fixture
def evaluation() -> Any:
    confusion = [[int(i == j) for j in range(len(LABELS))] for i in range(len(LABELS))]
    automatic = SimpleNamespace(wanted=0.9, share=0.6)
    return SimpleNamespace(labels=LABELS, confusion=confusion, coverage=((0.2, 1.0), (1.0, 0.8)), automatic=automatic)


@pytest.fixture
def shown(monkeypatch):
    """Every text of every picture that is drawn in the test."""
    from matplotlib.text import Text

    found: list[str] = []
    save = plots._save

    def keep(figure: Figure, path: Any) -> None:
        save(figure, path)
        found.extend(artist.get_text() for artist in figure.findobj(Text))

    monkeypatch.setattr(plots, "_save", keep)
    return found


@pytest.fixture(params=i18n.languages())
def language(request):
    i18n.use_language(request.param)
    yield request.param
    i18n.use_language(None)


def draw_all(evaluation, folder):
    sized = [(name, 0.7 + 0.01 * i, 1000 * (i + 1)) for i, name in enumerate(NAMES)]
    rows = [row(name, seed, score, num_trainable=size) for name, score, size in sized for seed in (0, 1)]
    rows.append(row(NAMES[0], 0, 0.6, won=False))
    plots.score_by_time(rows, folder / "time.png")
    plots.score_by_parameters(rows, folder / "parameters.png")
    plots.confusion_picture(evaluation, folder / "confusion.png")
    plots.coverage_picture(evaluation, folder / "coverage.png")


def test_no_picture_lacks_a_glyph_of_a_japanese_label(evaluation, language, shown, tmp_path):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        draw_all(evaluation, tmp_path)
    assert [str(warning.message) for warning in said] == []
    assert {"①号機", "㈱髙﨑", "ｾﾝｻｰ(ﾎﾟﾝﾌﾟ)", "𠮟責～〜", "[oil drum]油漏れ"} <= set(shown)
    assert len(list(tmp_path.glob("*.png"))) == 4


def test_japanese_pictures_have_no_english_words(evaluation, shown, tmp_path):
    i18n.use_language("ja")
    try:
        draw_all(evaluation, tmp_path)
    finally:
        i18n.use_language(None)
    english = {words for key, words in i18n.catalogue("en").items() if key.startswith("report.") and "{" not in words}
    assert not english & set(shown)


def test_without_the_font_that_comes_along_a_japanese_label_would_be_missing(tmp_path):
    figure = Figure()
    figure.text(0, 0, "油漏れ", family="DejaVu Sans")
    with pytest.warns(UserWarning, match=r"Glyph .* missing"):
        figure.savefig(tmp_path / "f.png")


def test_the_font_has_everything_that_japanese_windows_writes():
    points = [n for n in range(0xA0, 0x10000) if not 0xE000 <= n < 0xF900 and not 0xD800 <= n < 0xE000]
    written = "".join(map(chr, points)).encode("cp932", "ignore").decode("cp932")
    assert len(written) > 7_000
    assert [character for character in written if fonts.drawable(character) != character] == []


def test_every_japanese_ticket_can_be_drawn_as_it_is():
    assert [t["text"] for t in TICKETS if fonts.drawable(t["text"]) != t["text"]] == []


@pytest.mark.parametrize(
    ("words", "drawn"),
    [
        ("🛢️油", "[oil drum]油"),
        ("✋🏽停止", "[raised hand]停止"),
        ("か\u3099ら", "がら"),
        ("𠮷野家", "[U+20BB7]野家"),
        ("한국어", None),
        ("\U000f0000", None),
    ],
)
def test_what_the_fonts_lack_is_named_or_refused_but_never_a_box(words, drawn):
    assert fonts.drawable(words) == drawn


def test_the_font_is_small_and_its_licence_is_beside_it():
    folder = files("tsugiki") / "report" / "font"
    assert len((folder / "japanese.ttf").read_bytes()) < 3_000_000
    assert "SIL OPEN FONT LICENSE Version 1.1" in (folder / "OFL.txt").read_text(encoding="utf-8")


def test_the_settings_of_matplotlib_are_as_before(evaluation, tmp_path):
    before = dict(matplotlib.rcParams)
    plots.coverage_picture(evaluation, tmp_path / "c.png")
    assert dict(matplotlib.rcParams) == before
