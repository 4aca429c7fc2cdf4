"""A hub and a proxy on this machine, and an environment that knows of no other."""

import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

TOKEN = "hf_" + "Ab0" * 11 + "z"
LOGIN, PASSWORD = "grafter", "s3cret:p@ss"

_KINDS = ("http", "https", "all", "no")
_VARIABLES = [spelled for kind in _KINDS for spelled in (f"{kind}_proxy", f"{kind.upper()}_PROXY")]
_VARIABLES += ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]
_VARIABLES += ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"]

Answer = tuple[int, Mapping[str, str]]
OPEN: Answer = (200, {"X-Repo-Commit": "a" * 40, "ETag": '"b"'})


@dataclass
class Server:
    """A server that is running.

    Args:
        address: without a slash at the end.
        asked: method, place and headers of every request; names of headers in small letters.
    """

    address: str
    asked: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)


@contextmanager
def serving(answer: Callable[[str], Answer], context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server on a free port, which answers every place with a status and headers."""

    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            sent = {name.lower(): value for name, value in self.headers.items()}
            running.asked.append((self.command, self.path, sent))
            status, headers = answer(self.path)
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        do_HEAD = do_GET = do_CONNECT = reply  # noqa: N815 (the library's names)

        def log_message(self, *_: Any) -> None:
            """Nothing to the console."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if context is None else "https"
    running = Server(f"{scheme}://127.0.0.1:{server.server_address[1]}")
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()


def alone(monkeypatch: Any, folder: Path, hub: str = "http://127.0.0.1:9") -> None:
    """An environment without proxy, certificates, token and cache, whose hub is at an address where nobody answers."""
    from huggingface_hub import close_session, constants

    for variable in _VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    place_hub(monkeypatch, hub)
    close_session()


def place_hub(monkeypatch: Any, address: str) -> None:
    """Let the hub be at an address."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that nobody trusts, and a context to serve with it; made by the program openssl."""
    key, file = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=walls"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return file, context
