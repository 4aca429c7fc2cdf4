"""No question to the network is waited for longer than was meant."""

import time
from threading import Event

from tsugiki.hub.reach import failure


def test_what_goes_wrong_is_handed_back_and_what_goes_well_is_none():
    def fail():
        raise OSError("no route")

    assert str(failure(fail, 5)) == "no route"
    assert failure(lambda: "fine", 5) is None


def test_a_question_without_an_answer_is_given_up():
    began = time.monotonic()
    assert isinstance(failure(Event().wait, 0.05), TimeoutError)
    assert time.monotonic() - began < 2
