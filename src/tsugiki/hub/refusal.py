"""Why the hub gives nothing: what its libraries raise, as one sentence with the next step.

They raise a dozen classes, and wrap them into others until the reason is lost. So the hub is asked once more, plainly:
its answer to one small question says it all.
"""

import ssl
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

from tsugiki.errors import MissingError
from tsugiki.hub.reach import failure
from tsugiki.hub.secrets import hide
from tsugiki.hub.surroundings import certificates, endpoint, is_offline, proxy, token

Kind = Literal["model", "dataset"]

# What every repository of a kind has; whether it really has does not matter.
_FILES: dict[Kind, str] = {"model": "config.json", "dataset": "README.md"}
_LIMIT_S = 8.0
_NO_LOGIN, _FORBIDDEN, _NOT_FOUND, _PROXY_LOGIN = 401, 403, 404, 407


def require_given(name: str, kind: Kind) -> None:
    """Ask before the libraries do, which go on trying for minutes; nobody is asked for what is here already.

    Args:
        name: of the repository.
        kind: of the repository.

    Raises:
        MissingError: the hub refuses it, or cannot be reached.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    with suppress(HFValidationError):  # no name of a repository: the library says so
        if try_to_load_from_cache(name, _FILES[kind], repo_type=kind) is None and (error := refusal(name, kind)):
            raise error


def refusal(name: str, kind: Kind) -> MissingError | None:
    """Ask the hub for something small of a repository, and say why it is refused.

    Args:
        name: of the repository.
        kind: of the repository.

    Returns:
        None where the hub does not refuse it, so that the reason lies elsewhere.
    """
    if is_offline():
        return MissingError("hub.offline", name=name)
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HFValidationError

    hub = hide(endpoint())  # a mirror may want a login
    page = f"{hub}/{'datasets/' if kind == 'dataset' else ''}{name}"
    error = failure(lambda: get_hf_file_metadata(hf_hub_url(name, _FILES[kind], repo_type=kind)), _LIMIT_S)
    if error is None or isinstance(error, HFValidationError):  # what it answers to no name at all
        return None
    if (status := _status(error)) in (None, _PROXY_LOGIN):
        return unreachable(error)
    code = _code(error, status)
    return MissingError(code, name=name, page=page, hub=hub, status=status, source=_source()) if code else None


def unreachable(error: BaseException) -> MissingError:
    """Why no answer came, from what a request to the hub raised."""
    facts = {"hub": hide(endpoint()), "reason": hide(_reason(error))}
    own = certificates()
    if own and own.fault:
        return MissingError("hub.bad_certificates", variable=own.variable, path=own.path, reason=own.fault)
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        return MissingError("hub.certificate", **facts)
    through = proxy()
    if through and through.used:
        # A request in plain text is answered by the proxy; of a tunnel that it refuses only the words are left.
        wants_login = _status(error) == _PROXY_LOGIN or facts["reason"].startswith(str(_PROXY_LOGIN))
        code = "hub.proxy_login" if wants_login else "hub.proxy"
        return MissingError(code, proxy=through.shown, variable=through.variable, **facts)
    return MissingError("hub.unreachable", **facts)


def _code(error: BaseException, status: int | None) -> str | None:
    """What an answer of the hub means; None where it says that only the file is not there."""
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError

    if isinstance(error, EntryNotFoundError):
        return None
    if isinstance(error, GatedRepoError):
        return "hub.gated" if status == _NO_LOGIN else "hub.gated_account"
    if isinstance(error, RepositoryNotFoundError) or status == _NOT_FOUND:
        return "hub.not_found"
    if status == _NO_LOGIN:
        return "hub.bad_token" if token() else "hub.no_token"
    return "hub.forbidden" if status == _FORBIDDEN else "hub.status"


def _status(error: BaseException) -> int | None:
    """The status of the answer; None where there was none."""
    number = getattr(getattr(error, "response", None), "status_code", None)
    return int(number) if number is not None else None


def _source() -> str:
    found = token()
    return found.source if found else "HF_TOKEN"


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _reason(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0] or type(error).__name__
