import pytest

from tests.support.hub import alone
from tsugiki import i18n


@pytest.fixture(autouse=True)
def walls(monkeypatch, tmp_path):
    """Nothing is set, and no hub answers, unless the test says so; messages are English."""
    from huggingface_hub import close_session

    monkeypatch.setenv("TSUGIKI_LANG", "en")
    i18n.use_language(None)
    alone(monkeypatch, tmp_path)
    yield
    close_session()
