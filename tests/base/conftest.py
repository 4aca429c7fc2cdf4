import pytest


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """A TSUGIKI_HOME for each test; messages are English."""
    monkeypatch.setenv("TSUGIKI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TSUGIKI_LANG", "en")
