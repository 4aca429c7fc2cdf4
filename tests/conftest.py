import pytest


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """A TSUGIKI_HOME for each test; messages are English."""
    monkeypatch.setenv("TSUGIKI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TSUGIKI_LANG", "en")
    return tmp_path / "home"


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """More threads than free cores make tiny models slower, not faster."""
    import torch

    torch.set_num_threads(1)
