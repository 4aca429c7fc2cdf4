"""`tsugiki ablate`: files, sentences, refusals."""

import json
from pathlib import Path

import pytest

from tests.support.bases import tiny_base_folder
from tests.support.runs import easy_splits, quick_config
from tsugiki.ablation import Ablation
from tsugiki.train.run import train_adapter


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """An adapter with modules, one without, and a file of rows."""
    place = tmp_path_factory.mktemp("ablate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSUGIKI_HOME", str(place / "home"))
        config = quick_config(tiny_base_folder(place / "base"), placement__strategy="top", train__words=False)
        trained = train_adapter(easy_splits(), config)
        for name, candidate in (("grafted", trained.candidates[-1]), ("head", trained.candidates[0])):
            trained.adapter_of(candidate).save(place / name)
    rows = easy_splits().test
    lines = (json.dumps({"text": t, "label": l}) for t, l in zip(rows.texts, rows.labels, strict=True))
    (place / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return place


@pytest.mark.parametrize(("language", "said"), [("en", "layer"), ("ja", "層")])
def test_it_writes_what_was_measured_and_keeps_it(tsugiki, folders, own_home, language, said):
    found = tsugiki("ablate", folders / "grafted", folders / "rows.jsonl", "--out", "ablation", "--lang", language)
    assert found.code == 0, found.err
    written = Ablation.read(Path("ablation/ablation.json"))
    assert said in found.out and f"{written.of('layer')[0].num_params:,}" in found.out
    assert Path("ablation/ablation.png").read_bytes().startswith(b"\x89PNG")
    page = Path("ablation/ablation.html").read_text(encoding="utf-8")
    assert said in page and "data:image/png;base64," in page and "<script" not in page
    (kept,) = (own_home / "ablations").glob("*.json")
    assert Ablation.read(kept) == written
    told = tsugiki("ablate", folders / "grafted", folders / "rows.jsonl", "--out", "again", "--json").json
    assert told["parts"][0]["missed"] == written.parts[0].missed


def test_without_the_cache_no_state_of_a_row_is_written(tsugiki, folders, own_home):
    line = ("ablate", folders / "grafted", folders / "rows.jsonl", "--out", "ablation")
    assert tsugiki(*line, "--no-cache").code == 0
    without = set(own_home.rglob("*"))
    assert tsugiki(*line).code == 0
    assert {path.relative_to(own_home).parts[0] for path in set(own_home.rglob("*")) - without} == {"cache"}


def test_an_adapter_without_modules_is_refused_and_nothing_is_written(tsugiki, folders):
    found = tsugiki("ablate", folders / "head", folders / "rows.jsonl", "--out", "ablation")
    assert found.code != 0 and "ablation.no_modules" in found.err and not Path("ablation").exists()


def test_plan_goes_by_a_prior_and_refuses_one_of_another_base(tsugiki, folders, tmp_path_factory):
    tsugiki("ablate", folders / "grafted", folders / "rows.jsonl", "--out", "ablation")
    other = tiny_base_folder(tmp_path_factory.mktemp("other"), seed=1)
    line = ("plan", folders / "rows.jsonl", "--out", "plan", "--set", "data.illegible=warn")
    found = tsugiki(*line, "--base", other, "--prior", "ablation/ablation.json")
    assert found.code == 2 and "ablation.other_base" in found.err and not Path("plan").exists()
