"""How the next token is chosen, and where an answer stops."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt

from tsugiki.spec import Spec


class Sampling(Spec):
    """How the next token is chosen.

    Args:
        max_new: tokens of an answer at most; None takes what the adapter learnt. The context of the base ends it too.
        temperature: 0 takes the likeliest token.
        top_p: least share of the probability from which is drawn (0..1).
        stop: texts at which an answer ends.
        seed: of what is drawn in each batch; other neighbours in a batch draw otherwise.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    max_new: PositiveInt | None = None
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    seed: NonNegativeInt = 0


def until(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """Pieces of a text up to the first of some stops, which may lie across them."""
    held, spare = "", max(map(len, stops), default=1) - 1
    for piece in pieces:
        held += piece
        if found := [held.index(stop) for stop in stops if stop in held]:
            yield held[: min(found)]
            return
        if len(held) > spare:
            ready = len(held) - spare
            yield held[:ready]
            held = held[ready:]
    if held:
        yield held
