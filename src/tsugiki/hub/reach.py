"""Asking something that may never answer."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread


def failure(ask: Callable[[], object], limit_s: float) -> BaseException | None:
    """What a question to the network raises; a `TimeoutError` where no answer comes, None where all is well.

    Looking up a name knows no time-out, and that of a request begins anew with every byte; so somebody else waits.

    Args:
        ask: the question.
        limit_s: seconds to wait for all of it.
    """
    asked: Future[None] = Future()

    def wait() -> None:
        try:
            ask()
        except Exception as error:  # noqa: BLE001 (handed on)
            asked.set_exception(error)
        else:
            asked.set_result(None)

    # A daemon, unlike the threads of a pool: the process may end before the answer comes.
    Thread(target=wait, daemon=True).start()
    try:
        return asked.exception(limit_s)
    except TimeoutError as error:
        return error
