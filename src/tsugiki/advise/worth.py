"""What automatic answers are worth: the assumptions, all of them, and what follows."""

import math

from pydantic import Field, NonNegativeFloat, PositiveFloat

from tsugiki.spec import Spec


class Assumptions(Spec):
    """What nobody but the user knows; the values here are only there to be replaced.

    Args:
        currency: that money is counted in.
        wage: of an hour of whoever handles cases now.
        minutes: per case, by hand.
        cases: per month.
        setup_hours: once, to begin: rows, labels, a trial.
        upkeep_hours: per month, to look after it.
    """

    currency: str = "EUR"
    wage: PositiveFloat = 40.0
    minutes: PositiveFloat = 4.0
    cases: PositiveFloat = 1_000.0
    setup_hours: NonNegativeFloat = 40.0
    upkeep_hours: NonNegativeFloat = 4.0


class Worth(Spec):
    """What follows from assumptions and a share of automatic answers.

    Money comes from the cases that nobody looks at any more, not from accuracy: an answer that is right but has to be
    checked spares nothing.

    Args:
        share: of cases answered unseen (0..1).
        hours: spared per month, upkeep taken off; below zero where upkeep costs more.
        money: the same in money.
        months: until the hours of setting up are earned back; infinite where they never are.
    """

    share: float = Field(ge=0, le=1)
    hours: float
    money: float
    months: float

    @classmethod
    def of(cls, share: float, assumed: Assumptions) -> "Worth":
        """Work it out."""
        hours = assumed.cases * share * assumed.minutes / 60 - assumed.upkeep_hours
        months = assumed.setup_hours / hours if hours > 0 else math.inf
        return cls(share=share, hours=hours, money=hours * assumed.wage, months=months)
