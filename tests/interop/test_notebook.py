"""The notebook that comes along runs in a kernel, on a tiny base, and shows what it should."""

from pathlib import Path

import pytest

from tests.support.bases import tiny_base_folder

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook.ipynb"
SETTINGS = {
    "data.illegible": "warn",
    "placement.strategy": "top",
    "precision": "fp32",
    "train.epochs": 1,
    "train.max_rows": 60,
}

pytestmark = pytest.mark.interop


@pytest.fixture
def nbformat(monkeypatch):
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    for name in ("nbclient", "ipykernel"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    return pytest.importorskip("nbformat")


def shown(cell, kind="text/html"):
    return "\n".join(output["data"].get(kind, "") for output in cell.outputs if "data" in output)


def test_it_is_kept_without_outputs():
    import json

    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs") and not cell.get("execution_count")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_it_runs_and_shows_progress_tables_and_pictures(nbformat, tmp_path, monkeypatch):
    from nbclient import NotebookClient

    for name in ("TSUGIKI_HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("TSUGIKI_LANG", "en")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    start, train, predict, evaluate, compare = (cell for cell in notebook.cells if cell.cell_type == "code")
    assert start.metadata.tags == ["parameters"]
    start.source += f"\nbase, settings = {str(tiny_base_folder(tmp_path / 'base'))!r}, {SETTINGS!r}"
    # Raises where a cell ends in an error.
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert "60/60" in shown(train) and "rows/s" in shown(train)
    assert "<table" in shown(train) and "BertModel" in shown(train)
    assert "Prediction(label=" in shown(predict, "text/plain")
    for cell, pictures in ((evaluate, 2), (compare, 3)):
        assert shown(cell).count("data:image/png;base64,") == pictures
        assert "<table" in shown(cell)
    assert "macro-F1" in shown(evaluate) and "tfidf" in shown(compare)
    assert "3/3" in shown(compare)
    said = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))
    assert 'install "ipywidgets"' not in said and "rows/s" not in said
