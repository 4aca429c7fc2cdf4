"""The way to the hub, as `tsugiki doctor` looks at it: offline or not, proxy, certificates, token, and the hub itself.

A network that is not there is no fault: tsugiki works without one. Nothing secret is in what is found.
"""

import os
import socket
from collections.abc import Iterator

from tsugiki.cli.check import Check
from tsugiki.hub.reach import failure
from tsugiki.hub.refusal import unreachable
from tsugiki.hub.secrets import hide
from tsugiki.hub.surroundings import UNREAD, certificates, endpoint, is_offline, proxy, token
from tsugiki.i18n import text as say

_LIMIT_S = 3.0  # for each of the two questions
_BLOCKED = {401, 403, 407}
_SERVER_FAULT = 500


def network() -> Iterator[Check]:
    """Look at all that decides whether the hub can be reached; takes a few seconds at most."""
    yield _certificates()
    yield _token()
    if is_offline():
        yield Check("hub", "ok", say("cli.doctor.offline"))
        return
    yield _proxy()
    yield _hub()


def _certificates() -> Check:
    found = certificates()
    if found is None:
        unread = [variable for variable in UNREAD if os.environ.get(variable)]
        if unread:
            return Check("certificates", "warning", say("cli.doctor.unread_certificates", variable=unread[0]))
        return Check("certificates", "ok", say("cli.doctor.own_certificates"))
    facts = {"variable": found.variable, "path": found.path, "reason": found.fault, "count": found.count}
    if found.fault:
        return Check("certificates", "error", say("hub.bad_certificates", **facts))
    code = "cli.doctor.certificates" if found.count is not None else "cli.doctor.certificates_folder"
    return Check("certificates", "ok", say(code, **facts))


def _token() -> Check:
    found = token()
    if found is None:
        return Check("token", "ok", say("cli.doctor.no_token"))
    if not found.is_shaped:
        return Check("token", "warning", say("cli.doctor.odd_token", source=found.source))
    return Check("token", "ok", say("cli.doctor.token", source=found.source))


def _proxy() -> Check:
    found = proxy()
    if found is None:
        return Check("proxy", "ok", say("cli.doctor.no_proxy"))
    facts = {"proxy": found.shown, "variable": found.variable, "hub": hide(endpoint())}
    if not found.used:
        return Check("proxy", "ok", say("cli.doctor.proxy_unused", **facts))
    if not found.host:
        return Check("proxy", "error", say("cli.doctor.odd_proxy", **facts))
    error = failure(lambda: socket.create_connection((found.host, found.port), _LIMIT_S).close(), _LIMIT_S)
    if error is not None:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Check("proxy", "warning", say("cli.doctor.proxy_silent", reason=reason, **facts))
    return Check("proxy", "ok", say("cli.doctor.proxy", **facts))


def _hub() -> Check:
    """Whether the hub answers on the way that bases take: by the client of its library, with proxy and certificates."""
    from huggingface_hub import get_session

    answers: list[int] = []

    def ask() -> None:
        answers.append(get_session().head(endpoint(), timeout=_LIMIT_S, follow_redirects=False).status_code)

    if error := failure(ask, _LIMIT_S):
        return Check("hub", "warning", str(unreachable(error)))
    if answers[0] in _BLOCKED or answers[0] >= _SERVER_FAULT:
        return Check("hub", "warning", say("hub.status", hub=hide(endpoint()), status=answers[0]))
    return Check("hub", "ok", say("cli.doctor.hub", hub=hide(endpoint())))
