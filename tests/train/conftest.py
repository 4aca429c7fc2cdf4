import pytest

from tests.support.bases import tiny_base_folder
from tests.support.runs import tiny_base


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """A TSUGIKI_HOME for each test; messages are English."""
    monkeypatch.setenv("TSUGIKI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TSUGIKI_LANG", "en")
    return tmp_path / "home"


@pytest.fixture(scope="session")
def bert(tmp_path_factory):
    """Folder of a tiny BERT."""
    return tiny_base_folder(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    """Folder of a tiny Llama."""
    return tiny_base_folder(tmp_path_factory.mktemp("llama"), "llama")


@pytest.fixture
def base():
    """A tiny BERT in memory."""
    return tiny_base()


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """More threads than free cores make tiny models slower, not faster."""
    import torch

    torch.set_num_threads(1)
