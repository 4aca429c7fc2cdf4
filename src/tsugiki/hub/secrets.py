"""Tokens and passwords, taken out of whatever is shown or logged."""

import os
import re
from collections.abc import Iterator
from urllib.parse import unquote

TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")

_STARS = "***"
_TOKEN = re.compile(r"\b(hf|api_org)_[A-Za-z0-9]{8,}")
_LOGIN = re.compile(r"(?<=://)[^\s/]*(?=@)")  # up to the last @: passwords are not always written as they should be
_SHORTEST = 4  # taken out by itself; a shorter word would be found everywhere


def hide(text: str) -> str:
    """`text` with stars for tokens of the hub, for user names and passwords in addresses, and for what is set here."""
    for secret in sorted(_known(), key=len, reverse=True):
        text = text.replace(secret, _STARS)
    return _TOKEN.sub(_STARS, _LOGIN.sub(_STARS, text))


def _known() -> Iterator[str]:
    """What the environment holds, as it is written there and as it is meant."""
    from urllib.request import getproxies  # brings http and ssl along, for which no help page should wait

    for variable in TOKEN_VARIABLES:
        if len(token := os.environ.get(variable, "").strip()) >= _SHORTEST:
            yield token
    for address in getproxies().values():
        login = address.rpartition("@")[0].rpartition("://")[2]
        password = login.partition(":")[2]
        yield from (secret for secret in (login, password, unquote(password)) if len(secret) >= _SHORTEST)
