from functools import cache

import pytest

from tests.support.bases import tiny_base_folder


@pytest.fixture(scope="session")
def base_at(tmp_path_factory):
    """`base_at("bert")` is the folder of a tiny base with a tokenizer, made once."""
    root = tmp_path_factory.mktemp("bases")

    @cache
    def folder(family="bert"):
        return tiny_base_folder(root / family, family)

    return folder
