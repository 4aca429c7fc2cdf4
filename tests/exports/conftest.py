from functools import cache

import pytest

from tests.support.bases import tiny_base_folder


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """More threads than free cores make tiny models slower, not faster."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TSUGIKI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TSUGIKI_LANG", "en")


@pytest.fixture(scope="session")
def base_at(tmp_path_factory):
    """`base_at("bert")` is the folder of a tiny base with a tokenizer, made once."""
    root = tmp_path_factory.mktemp("bases")

    @cache
    def folder(family="bert"):
        return tiny_base_folder(root / family, family)

    return folder
