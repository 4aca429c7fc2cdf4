"""Why an answer is what it is: which modules acted, and what each of them brought. Torch-free."""

from tsugiki.spec import Spec


class Player(Spec):
    """The modules of one adapter in one layer.

    Args:
        adapter: whose modules they are.
        layer: where they stand.
        weight: of the adapter on this input.
        num_modules: that stand there.
        value: what they bring to the answer: its log-likelihood, in nats, in the mean over all orders in which the
            players may join.
        margin: half the width of the interval in which that lies in 19 of 20 cases; 0 where it is exact.
        by_token: weight on each token; empty where it is the same on all.
    """

    adapter: str
    layer: int
    weight: float
    num_modules: int
    value: float
    margin: float
    by_token: tuple[float, ...] = ()


class Interaction(Spec):
    """What two players bring together beyond what each does alone: above 0 they need each other, below they overlap.

    Args:
        first: number of a player.
        second: number of another.
        value: in nats.
    """

    first: int
    second: int
    value: float


class Nearest(Spec):
    """What the input is like among what was trained on.

    Args:
        name: of an adapter of a set, or of a class of an adapter.
        above: how much more familiar it is than the least familiar that an adapter still knows, or, of classes, than
            the last of those that are named, in nats.
    """

    name: str
    above: float


class Explanation(Spec):
    """Everything that was found about one answer.

    Args:
        adapter: that answered; None where no adapter of a set knows the input.
        variant: what won when it was trained.
        label: the answer.
        probability: of it (0..1).
        label_without: the answer without any module.
        probability_without: of the answer that was given, without any module (0..1).
        players: layers with modules that acted, from the lowest.
        interactions: of all pairs; none where there are too many players for all coalitions.
        nearest: what the input is like, the most familiar first.
        words_share: weight of the words beside the states, which no module changes (0..1).
        tokens: of the input, where gates decided token by token.
    """

    adapter: str | None = None
    variant: str = ""
    label: str = ""
    probability: float = 0.0
    label_without: str = ""
    probability_without: float = 0.0
    players: tuple[Player, ...] = ()
    interactions: tuple[Interaction, ...] = ()
    nearest: tuple[Nearest, ...] = ()
    words_share: float = 0.0
    tokens: tuple[str, ...] = ()
