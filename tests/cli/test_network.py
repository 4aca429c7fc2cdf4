"""What `tsugiki doctor` says of the way to the hub."""

import socket
import time

import pytest

from tests.support.hub import LOGIN, OPEN, PASSWORD, TOKEN, alone, place_hub, serving
from tsugiki.cli.network import network


@pytest.fixture(autouse=True)
def walls(monkeypatch, tmp_path):
    from huggingface_hub import close_session

    monkeypatch.setenv("TSUGIKI_LANG", "en")
    alone(monkeypatch, tmp_path)
    yield
    close_session()


def checks():
    return {check.name: check for check in network()}


def levels():
    return {name: check.level for name, check in checks().items()}


def test_a_hub_that_answers_is_well(monkeypatch):
    with serving(lambda _: OPEN) as hub:
        place_hub(monkeypatch, hub.address)
        found = checks()
    assert {check.level for check in found.values()} == {"ok"}
    assert hub.address in found["hub"].found
    assert [method for method, *_ in hub.asked] == ["HEAD"]


def test_without_a_network_the_hub_is_a_warning_and_no_error():
    assert levels() == {"certificates": "ok", "token": "ok", "proxy": "ok", "hub": "warning"}


@pytest.mark.parametrize("status", [401, 403, 407, 502])
def test_an_answer_that_lets_nobody_through_is_a_warning(monkeypatch, status):
    with serving(lambda _: (status, {})) as hub:
        place_hub(monkeypatch, hub.address)
        assert (found := checks()["hub"]).level == "warning" and str(status) in found.found


def test_offline_nobody_is_asked(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with serving(lambda _: OPEN) as hub:
        place_hub(monkeypatch, hub.address)
        found = checks()
    assert "HF_HUB_OFFLINE" in found["hub"].found and "proxy" not in found and hub.asked == []


def test_a_hub_behind_a_proxy_is_reached_through_it(monkeypatch):
    place_hub(monkeypatch, "http://hub.corp")
    with serving(lambda _: OPEN) as proxy:
        monkeypatch.setenv("http_proxy", proxy.address.replace("://", f"://{LOGIN}:s3cret@"))
        found = checks()
    assert (found["proxy"].level, found["hub"].level) == ("ok", "ok")
    assert "***@127.0.0.1" in found["proxy"].found and proxy.asked[0][1].startswith("http://hub.corp")


@pytest.mark.parametrize(
    ("address", "level"),
    [("http://127.0.0.1:9", "warning"), ("http://no.such.proxy.invalid:80", "warning"), ("http://[", "error")],
)
def test_a_proxy_that_is_not_there_is_found_out(monkeypatch, address, level):
    place_hub(monkeypatch, "https://hub.corp")
    monkeypatch.setenv("https_proxy", address)
    found = checks()
    assert found["proxy"].level == level and "HTTPS_PROXY" in found["proxy"].found
    assert found["hub"].level == "warning"


def test_a_proxy_that_the_hub_is_left_out_of_is_said(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert (found := checks()["proxy"]).level == "ok" and "NO_PROXY" in found.found


def test_who_never_answers_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("tsugiki.cli.network._LIMIT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place_hub(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        assert checks()["hub"].level == "warning"
    assert time.monotonic() - began < 3


def test_certificates_that_cannot_be_used_are_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere.pem"))
    assert (found := checks()["certificates"]).level == "error" and "nowhere.pem" in found.found


def test_certificates_in_a_variable_that_nobody_reads_are_a_warning(monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/company.pem")
    assert (found := checks()["certificates"]).level == "warning" and "SSL_CERT_FILE" in found.found


@pytest.mark.parametrize(("value", "level"), [(TOKEN, "ok"), (f"'{TOKEN}'", "warning")])
def test_a_token_is_judged_by_its_shape(monkeypatch, value, level):
    monkeypatch.setenv("HF_TOKEN", value)
    assert (found := checks()["token"]).level == level and "HF_TOKEN" in found.found


def test_no_secret_is_in_anything_that_doctor_says(monkeypatch, tsugiki):
    place_hub(monkeypatch, f"https://{LOGIN}:mirr0r@hub.corp")
    monkeypatch.setenv("HF_TOKEN", f'"{TOKEN}"')
    monkeypatch.setenv("https_proxy", f"http://{LOGIN}:{PASSWORD}@127.0.0.1:9")
    told, shown = tsugiki("doctor", "--json"), tsugiki("doctor")
    assert {"certificates", "token", "proxy", "hub"} <= {check["name"] for check in told.json["checks"]}
    everything = told.out + told.err + shown.out + shown.err
    assert not any(secret in everything for secret in (TOKEN, TOKEN[4:], LOGIN, PASSWORD, "s3cret", "mirr0r"))
