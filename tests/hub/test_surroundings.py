"""What the environment says of proxy, certificates and token, without what is secret of it."""

import shutil

import pytest

from tests.support.hub import LOGIN, PASSWORD, TOKEN, certificate, place_hub
from tsugiki.hub.surroundings import certificates, proxy, token

HUB = "https://hub.corp"


@pytest.fixture(autouse=True)
def secure_hub(monkeypatch, walls):
    place_hub(monkeypatch, HUB)


def test_nothing_is_set():
    assert (proxy(), certificates(), token()) == (None, None, None)


@pytest.mark.parametrize(
    ("variable", "address", "shown", "where"),
    [
        ("HTTPS_PROXY", "http://proxy.corp:8080", "http://proxy.corp:8080", ("proxy.corp", 8080)),
        ("https_proxy", "proxy.corp:3128", "http://proxy.corp:3128", ("proxy.corp", 3128)),
        ("HTTPS_PROXY", f"http://{LOGIN}:{PASSWORD}@proxy.corp", "http://***@proxy.corp", ("proxy.corp", 80)),
        ("ALL_PROXY", "socks5://proxy.corp", "socks5://proxy.corp", ("proxy.corp", 1080)),
        ("HTTPS_PROXY", "http://proxy.corp:port", "http://proxy.corp:port", ("", 0)),
    ],
)
def test_the_proxy_on_the_way_to_the_hub_is_known(monkeypatch, variable, address, shown, where):
    monkeypatch.setenv(variable, address)
    found = proxy()
    assert found is not None
    assert (found.variable, found.shown, (found.host, found.port)) == (variable.upper(), shown, where)
    assert found.used


def test_a_proxy_for_plain_addresses_is_none_for_a_hub_with_tls(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://proxy.corp:8080")
    assert proxy() is None


@pytest.mark.parametrize(("left_out", "used"), [("hub.corp", False), (".corp", False), ("*", False), ("other", True)])
def test_no_proxy_leaves_the_hub_out(monkeypatch, left_out, used):
    monkeypatch.setenv("https_proxy", "http://proxy.corp:8080")
    monkeypatch.setenv("no_proxy", left_out)
    found = proxy()
    assert found is not None and found.used is used


@pytest.mark.parametrize("content", [None, "", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_file_of_certificates_that_is_none_is_a_fault(monkeypatch, tmp_path, content):
    file = tmp_path / "company.pem"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    found = certificates()
    assert found is not None and found.fault and found.path == str(file)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the program openssl is not installed")
def test_certificates_are_counted(monkeypatch, tmp_path):
    file, _ = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    found = certificates()
    assert found is not None and (found.count, found.fault) == (1, "")


def test_a_folder_of_certificates_has_to_be_there(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path / 'nowhere'}:{tmp_path}")
    assert (found := certificates()) is not None and not found.fault
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "nowhere"))
    assert (found := certificates()) is not None and found.fault


@pytest.mark.parametrize(
    ("value", "is_shaped"),
    [(TOKEN, True), (f" {TOKEN}\n", True), (f'"{TOKEN}"', False), (f"Bearer {TOKEN}", False), ("hf_", False)],
)
def test_a_token_is_known_by_its_shape_and_never_kept(monkeypatch, value, is_shaped):
    monkeypatch.setenv("HF_TOKEN", value)
    found = token()
    assert found is not None and (found.source, found.is_shaped) == ("HF_TOKEN", is_shaped)
    assert TOKEN not in repr(found)


def test_a_token_may_be_in_the_file_that_a_login_leaves(tmp_path):
    (tmp_path / "token").write_text(TOKEN + "\n", encoding="utf-8")
    found = token()
    assert found is not None and found.is_shaped and found.source == str(tmp_path / "token")
