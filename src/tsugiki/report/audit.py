"""An audit in words and as lines of tables."""

from collections.abc import Iterator

from tsugiki.audited import ERRORS, Audit, Member, Pair
from tsugiki.i18n import text

_SHOWN = 5


def findings(audit: Audit) -> Iterator[str]:
    """What it comes to, in sentences."""
    yield text("report.audit_rows", rows=audit.num_rows)
    if audit.num_unanswered:
        yield text("report.audit_unanswered", unanswered=audit.num_unanswered)
    most = max(audit.members, key=lambda member: member.effect * member.activity)
    if most.effect * most.activity > 0:
        yield text("report.audit_most", who=called(most), effect=most.effect, activity=100 * most.activity)
    dead = [member for member in audit.members if member.is_dead]
    if dead:
        yield text("report.audit_dead", count=len(dead), names=", ".join(map(called, dead[:_SHOWN])))
    hurting = [m for m in audit.members if m.error is not None and m.effect + ERRORS * m.error < 0 and not m.is_dead]
    if hurting:
        yield text("report.audit_hurting", names=", ".join(map(called, hurting[:_SHOWN])))
    for kind in ("conflict", "redundant", "needed"):
        found = sorted((p for p in audit.pairs if p.kind == kind), key=lambda pair: -abs(pair.beyond))
        if found:
            yield text(f"report.audit_{kind}", pairs="; ".join(_pair(audit, pair) for pair in found[:_SHOWN]))
    if not any(pair.kind != "none" for pair in audit.pairs):
        yield text("report.audit_apart")
    told = [member for member in audit.members if member.agreement is not None]
    if told:
        least, best = (pick(told, key=lambda m: m.agreement or 0.0) for pick in (min, max))
        yield text("report.audit_gates", least=least.agreement, most=best.agreement)


def columns() -> list[str]:
    """Names of what `lines` lists."""
    names = ("name", "layer", "modules", "activity", "weight", "effect", "agreement")
    return [text(f"report.audit_column.{name}") for name in names]


def lines(audit: Audit) -> list[tuple[str, ...]]:
    """A line for each member."""
    return [
        (
            m.name,
            str(m.layer),
            str(m.num_modules),
            f"{100 * m.activity:.0f} %",
            f"{m.weight:.2f}",
            f"{m.effect:+.3f}" + (f" ± {ERRORS * m.error:.3f}" if m.error is not None else ""),
            "-" if m.agreement is None else f"{m.agreement:+.2f}",
        )
        for m in audit.members
    ]


def domains(audit: Audit) -> tuple[list[str], list[tuple[str, ...]]]:
    """Names of columns and a line for each domain, or label: on which share of its rows who acts."""
    names = list(dict.fromkeys(member.name for member in audit.members))
    rows = [(where, *(f"{100 * found.get(n, 0.0):.0f} %" for n in names)) for where, found in audit.activity.items()]
    return ([text("report.audit_column.domain"), *names], rows)


def _pair(audit: Audit, pair: Pair) -> str:
    first, second = (called(audit.members[number]) for number in (pair.first, pair.second))
    return text("report.audit_pair", first=first, second=second, beyond=pair.beyond)


def called(member: Member) -> str:
    """A member by its name and layer."""
    return text("report.explain_player", adapter=member.name, layer=member.layer)
