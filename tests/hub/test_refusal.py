"""Why the hub gives nothing is told in one sentence, with the next step in it and no secret."""

import os
import shutil
import subprocess
import sys
import time

import pytest

from tests.support.hub import LOGIN, OPEN, PASSWORD, TOKEN, certificate, place_hub, serving
from tsugiki import i18n
from tsugiki.base.model import load_base
from tsugiki.data.rows import read_splits
from tsugiki.errors import MissingError
from tsugiki.hub.refusal import refusal, require_given

ANSWERS = {
    "gated": (401, {"X-Error-Code": "GatedRepo"}),
    "waiting": (403, {"X-Error-Code": "GatedRepo"}),
    "none": (404, {"X-Error-Code": "RepoNotFound"}),
    "private": (401, {"X-Error-Code": "RepoNotFound"}),
    "stale": (401, {"X-Error-Message": "Invalid credentials in Authorization header"}),
    "walled": (403, {}),
    "down": (503, {}),
    "bare": (404, {"X-Error-Code": "EntryNotFound"}),
}


def answer(path):
    name = next((name for name in ANSWERS if f"org/{name}" in path), None)
    return ANSWERS[name] if name else OPEN


@pytest.fixture
def hub(monkeypatch):
    """A hub that refuses some names."""
    with serving(answer) as server:
        place_hub(monkeypatch, server.address)
        yield server


def told(name, kind="model"):
    error = refusal(name, kind)
    assert error is not None
    for language in i18n.languages():
        i18n.use_language(language)
        assert str(error)
    i18n.use_language(None)
    return error


@pytest.mark.parametrize(
    ("name", "code", "step"),
    [
        ("gated", "hub.gated", "/org/gated, and set HF_TOKEN"),
        ("waiting", "hub.gated_account", "Accept the licence at"),
        ("none", "hub.not_found", "Check the name"),
        ("private", "hub.not_found", "set HF_TOKEN"),
        ("stale", "hub.bad_token", "/settings/tokens"),
        ("walled", "hub.forbidden", "HF_TOKEN"),
        ("down", "hub.status", "503"),
    ],
)
def test_each_refusal_has_its_sentence(hub, monkeypatch, name, code, step):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    error = told(f"org/{name}")
    assert error.code == code
    assert step in str(error) and TOKEN not in str(error)


def test_without_a_token_one_is_asked_for(hub):
    assert told("org/stale").code == "hub.no_token"


@pytest.mark.parametrize("name", ["org/open", "org/bare", "a/name/of/nothing"])
def test_what_the_hub_does_not_refuse_has_another_reason(hub, name):
    assert refusal(name, "model") is None


def test_a_gated_base_is_explained_where_it_is_loaded(hub):
    with pytest.raises(MissingError) as caught:
        load_base("org/gated")
    assert caught.value.code == "hub.gated" and f"{hub.address}/org/gated" in str(caught.value)


@pytest.mark.parametrize("late", [False, True])
def test_a_gated_data_set_is_explained_where_it_is_read(hub, monkeypatch, late):
    datasets = pytest.importorskip("datasets")

    def refuse(name):
        raise datasets.exceptions.DatasetNotFoundError(f"Dataset '{name}' is a gated dataset on the Hub.")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    monkeypatch.setattr("tsugiki.data.sources.require_given", (lambda *_: None) if late else require_given)
    with pytest.raises(MissingError) as caught:
        read_splits("org/gated")
    assert caught.value.code == "hub.gated" and f"{hub.address}/datasets/org/gated" in str(caught.value)


def test_offline_nobody_is_asked(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingError) as caught:
        load_base("org/open")
    assert caught.value.code == "hub.offline" and "HF_HUB_OFFLINE" in str(caught.value)
    assert hub.asked == []


def test_nobody_is_asked_for_what_is_here(hub, tmp_path):
    commit = tmp_path / "hub" / "models--org--gated" / "snapshots" / ("a" * 40)
    commit.mkdir(parents=True)
    (commit / "config.json").touch()
    (commit.parents[1] / "refs").mkdir()
    (commit.parents[1] / "refs" / "main").write_text(commit.name, encoding="utf-8")
    require_given("org/gated", "model")
    assert hub.asked == []


def test_without_a_network_a_base_is_missing_at_once():
    began = time.monotonic()
    with pytest.raises(MissingError) as caught:
        load_base("org/open")
    assert caught.value.code == "hub.unreachable" and time.monotonic() - began < 5


def test_a_hub_that_does_not_answer_is_named():
    error = told("org/open")
    assert error.code == "hub.unreachable" and "http://127.0.0.1:9" in str(error)


# --- proxies ----------------------------------------------------------------------------------------------------------


def through(monkeypatch, proxy, kind="http"):
    login = f"{LOGIN}:{PASSWORD.replace('@', '%40')}"
    monkeypatch.setenv(f"{kind}_proxy", proxy.address.replace("://", f"://{login}@"))


def without_secrets(text):
    return not any(secret in text for secret in (LOGIN, PASSWORD, PASSWORD.replace("@", "%40"), "s3cret"))


def test_the_hub_is_asked_through_the_proxy_that_is_set(monkeypatch):
    place_hub(monkeypatch, "http://hub.corp")
    with serving(answer) as proxy:
        through(monkeypatch, proxy)
        assert refusal("org/open", "model") is None
        assert told("org/gated").code == "hub.gated"
    _, place, headers = proxy.asked[0]
    assert place.startswith("http://hub.corp/org/open") and headers["proxy-authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    ("hub", "kind", "status", "code"),
    [
        ("http://hub.corp", "http", 407, "hub.proxy_login"),
        ("https://hub.corp", "https", 407, "hub.proxy_login"),
        ("https://hub.corp", "https", 403, "hub.proxy"),
    ],
)
def test_a_proxy_that_refuses_is_named_without_its_login(monkeypatch, hub, kind, status, code):
    place_hub(monkeypatch, hub)
    with serving(lambda _: (status, {})) as proxy:
        through(monkeypatch, proxy, kind)
        error = told("org/open")
    assert error.code == code
    assert f"{kind.upper()}_PROXY" in str(error) and without_secrets(str(error) + repr(error.facts))


def test_a_proxy_that_does_not_answer_is_named(monkeypatch):
    place_hub(monkeypatch, "https://hub.corp")
    monkeypatch.setenv("https_proxy", f"http://{LOGIN}:s3cret@127.0.0.1:9")
    error = told("org/open")
    assert error.code == "hub.proxy" and "127.0.0.1:9" in str(error) and without_secrets(str(error))


# --- certificates -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the program openssl is not installed")
def test_a_certificate_of_the_company_is_refused_until_its_file_is_named(monkeypatch, tmp_path):
    from huggingface_hub import close_session

    file, context = certificate(tmp_path)
    with serving(answer, context) as server:
        place_hub(monkeypatch, server.address)
        error = told("org/open")
        assert error.code == "hub.certificate" and "SSL_CERT_FILE" in str(error)
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        close_session()
        assert refusal("org/open", "model") is None


def test_a_file_of_certificates_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere.pem"))
    error = told("org/open")
    assert error.code == "hub.bad_certificates" and "nowhere.pem" in str(error)


# --- the variables, as the libraries read them ------------------------------------------------------------------------


def test_the_address_of_the_hub_and_the_token_are_taken_from_the_environment(tmp_path):
    with serving(answer) as server:
        own = {"HF_ENDPOINT": server.address, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path), "TSUGIKI_LANG": "en"}
        code = "from tsugiki.hub.refusal import refusal; print(refusal('org/gated', 'model'))"
        # Whatever this machine sets of its own stays out, the path of the modules excepted.
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "HOME")}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env={**kept, **own}, capture_output=True, encoding="utf-8", check=True)
    assert "is gated" in done.stdout and TOKEN not in done.stdout + done.stderr
    shown = [headers.get("authorization") for _, place, headers in server.asked if place.startswith("/org/gated")]
    assert shown == [f"Bearer {TOKEN}"]
