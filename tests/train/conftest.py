import pytest

from tests.support.bases import tiny_base_folder
from tests.support.runs import tiny_base


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
