"""What a user is ready to spend, and what for."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import BeforeValidator, ByteSize, Field, PositiveFloat

from tsugiki.spec import Spec


def _share(value: object) -> object:
    """`5%` as 0.05."""
    return float(value[:-1]) / 100 if isinstance(value, str) and value.endswith("%") else value


Share = Annotated[PositiveFloat, BeforeValidator(_share)]


class Budget(Spec):
    """Limits of a placement; None is no limit. Without one of parameters a larger rank would always be the better one.

    Args:
        max_params: trained parameters as a share of the base's, `1%` or 0.01.
        max_train_s: seconds of training.
        max_added_latency: of an answer, as a share of the base's own, `5%` or 0.05.
        max_peak_bytes: of training, above the base, such as `500MB`.
        max_package_bytes: of what is saved.
        min_score: on validation, of which the fastest answer is wanted that has it, `90%` or 0.9; None: the best score.
    """

    max_params: Share | None = 0.01
    max_train_s: PositiveFloat | None = None
    max_added_latency: Share | None = None
    max_peak_bytes: Annotated[ByteSize, Field(gt=0)] | None = None
    max_package_bytes: Annotated[ByteSize, Field(gt=0)] | None = None
    min_score: Annotated[Share, Field(le=1)] | None = None

    def limits(self, base_latency_ms: float, base_params: int) -> Iterator[tuple[str, float]]:
        """Each limit that is set, by the cost that it bounds and in its unit.

        Args:
            base_latency_ms: of an answer of the base run up to the exit.
            base_params: of the base.
        """
        found = {
            "num_params": self.max_params and self.max_params * base_params,
            "train_s": self.max_train_s,
            "latency_ms": self.max_added_latency and (1 + self.max_added_latency) * base_latency_ms,
            "peak_bytes": self.max_peak_bytes,
            "package_bytes": self.max_package_bytes,
        }
        yield from ((cost, float(limit)) for cost, limit in found.items() if limit)
