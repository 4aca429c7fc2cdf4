"""What `tsugiki doctor` finds of one thing."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    level: Literal["ok", "warning", "error"]
    found: str
