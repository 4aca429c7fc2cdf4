"""Whatever is shown goes through `hide`, so nothing secret may come out of it."""

import pytest

from tests.support.hub import LOGIN, PASSWORD, TOKEN
from tsugiki.hub.secrets import hide

ADDRESS = f"http://{LOGIN}:{PASSWORD}@proxy.corp:8080"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"Bearer {TOKEN} was refused", "Bearer *** was refused"),
        ("api_org_abcdefghijklmnop", "***"),
        (f"through {ADDRESS} now", "through http://***@proxy.corp:8080 now"),
        ("https://user:p%40ss@index.corp/simple", "https://***@index.corp/simple"),
        ("http://user@host", "http://***@host"),
        ("https://huggingface.co/org/model, mail a@b.c", "https://huggingface.co/org/model, mail a@b.c"),
        ("hf_hub_download and layers.0.mlp", "hf_hub_download and layers.0.mlp"),
    ],
)
def test_tokens_and_logins_are_taken_out_and_nothing_else_is(said, shown):
    assert hide(said) == shown


def test_a_token_of_any_shape_is_hidden_because_it_is_set(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "company-issued-0815")
    assert hide("sent company-issued-0815!") == "sent ***!"


def test_the_password_of_a_proxy_is_hidden_as_it_is_written_and_as_it_is_meant(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://grafter:p%40ssw0rd@proxy.corp:8080")
    assert hide("grafter:p%40ssw0rd, p%40ssw0rd, p@ssw0rd") == "***, ***, ***"


def test_a_proxy_without_a_login_changes_nothing(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://proxy.corp:8080")
    assert hide("http://proxy.corp:8080") == "http://proxy.corp:8080"
