"""What a format refuses that holds modules as a change of projections only."""

from tsugiki.adapt.adapted import RESIDUAL
from tsugiki.adapt.forms.low_rank import LowRank
from tsugiki.adapt.merge import is_mergeable
from tsugiki.adapt.package import Package
from tsugiki.base.model import Base
from tsugiki.errors import ExportError


def require_low_rank(package: Package, format: str) -> None:
    """See that all modules are low-rank and stand on sublayers.

    Raises:
        ExportError: one does not.
    """
    for graft in package.grafts:
        where = f"layers.{graft.layer}.{graft.site}"
        if not isinstance(graft.form, LowRank):
            raise ExportError("export.form", site=where, found=graft.form.kind, format=format)
        if graft.site == RESIDUAL:
            raise ExportError("export.residual", site=where, format=format)


def require_mergeable(package: Package, base: Base, format: str) -> None:
    """See that each module stands on a projection with a weight of its own.

    Raises:
        ExportError: one stands on a block of experts.
    """
    for graft in package.grafts:
        if not is_mergeable(base, graft):
            raise ExportError("export.block", site=f"layers.{graft.layer}.{graft.site}", format=format)
