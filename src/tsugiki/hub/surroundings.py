"""What the environment says of the way to the hub: proxy, certificates, token. What is secret of it stays here."""

import os
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from tsugiki.hub.secrets import TOKEN_VARIABLES, hide

UNREAD = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that other programs take certificates from, and the library below this one does not."""

_SHAPE = re.compile(r"(hf|api_org)_[A-Za-z0-9._-]{16,}")
_PORTS = {"http": 80, "https": 443}
_SOCKS_PORT = 1080


def endpoint() -> str:
    """Address of the hub: that in the variable `HF_ENDPOINT`, else the public one."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def is_offline() -> bool:
    """Whether `HF_HUB_OFFLINE` forbids asking the hub."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


@dataclass(frozen=True)
class Proxy:
    """The proxy that requests to the hub go through.

    Args:
        variable: that names it.
        shown: its address without user name and password.
        host: its name or number.
        port: 0 where none can be made out.
        used: whether it is used; False where `NO_PROXY` leaves the hub out.
    """

    variable: str
    shown: str
    host: str
    port: int
    used: bool


def proxy() -> Proxy | None:
    """The proxy in `HTTPS_PROXY` (`HTTP_PROXY` for a hub without TLS), else in `ALL_PROXY`; None where none is set."""
    hub = urlsplit(endpoint())
    named = getproxies()
    kind = next((kind for kind in (hub.scheme, "all") if named.get(kind)), None)
    if kind is None:
        return None
    address = named[kind] if "://" in named[kind] else f"http://{named[kind]}"
    used = not proxy_bypass(hub.hostname or "")
    return Proxy(f"{kind.upper()}_PROXY", hide(address), *_host_and_port(address), used)


def _host_and_port(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address)
        return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, _SOCKS_PORT)
    except ValueError:  # brackets or a port that are none
        return "", 0


@dataclass(frozen=True)
class Certificates:
    """Where the certificates come from that a server is checked against.

    Args:
        variable: that names them.
        path: of the file or folder.
        count: how many there are; None for a folder, which is read as it is needed.
        fault: why they cannot be used.
    """

    variable: str
    path: str
    count: int | None = None
    fault: str = ""


def certificates() -> Certificates | None:
    """What `SSL_CERT_FILE` or else `SSL_CERT_DIR` names; None where the system's own certificates are used."""
    if path := os.environ.get("SSL_CERT_FILE"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cafile=path)
        except OSError as error:  # an ssl.SSLError is one too
            return Certificates("SSL_CERT_FILE", path, fault=error.strerror or str(error))
        return Certificates("SSL_CERT_FILE", path, count=context.cert_store_stats()["x509"])
    if path := os.environ.get("SSL_CERT_DIR"):
        # Several may be given, as in PATH; one that is there will do.
        there = any(Path(folder).is_dir() for folder in path.split(os.pathsep))
        return Certificates("SSL_CERT_DIR", path, fault="" if there else os.strerror(2))
    return None


@dataclass(frozen=True)
class Token:
    """A token of the hub, without the token.

    Args:
        source: the variable or file that holds it.
        is_shaped: whether it looks like one.
    """

    source: str
    is_shaped: bool


def token() -> Token | None:
    """The token that the hub would be shown; None where there is none. Nobody is asked whether it is in force."""
    found = next(_tokens(), None)
    return Token(found[0], _SHAPE.fullmatch(found[1]) is not None) if found else None


def _tokens() -> Iterator[tuple[str, str]]:
    from huggingface_hub import constants

    for variable in TOKEN_VARIABLES:
        if value := os.environ.get(variable, "").strip():
            yield variable, value
    file = Path(constants.HF_TOKEN_PATH)
    if file.is_file():
        yield str(file), file.read_text(encoding="utf-8", errors="replace").strip()
