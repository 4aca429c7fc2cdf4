"""Pages and parts of pages that need nothing else: styles inside, pictures inside, no script."""

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from tsugiki.ablation import Ablation
from tsugiki.audited import Audit
from tsugiki.i18n import language, text
from tsugiki.manifest import Manifest
from tsugiki.report.ablation import columns as ablation_columns
from tsugiki.report.ablation import guidance, lines
from tsugiki.report.audit import columns as audit_columns
from tsugiki.report.audit import domains as audit_domains
from tsugiki.report.audit import findings
from tsugiki.report.audit import lines as audit_lines
from tsugiki.report.evaluation import by_class, columns, sentences
from tsugiki.report.facts import facts
from tsugiki.report.tables import Row, candidates, cells, headings, interval, signed, summaries, title
from tsugiki.report.verdicts import verdicts

if TYPE_CHECKING:
    from tsugiki.evaluate.run import Evaluation


def comparison_page(rows: Sequence[Row], differences: Sequence[Row], pictures: Mapping[str, bytes]) -> str:
    """A comparison as a page of its own, in the language in force.

    Args:
        rows: of `results.json`.
        differences: of `differences.json`.
        pictures: PNG files by the key of their caption.
    """
    return filled("compare.html.j2", title=title(rows), **_compared(rows, differences, pictures))


def comparison_part(rows: Sequence[Row], differences: Sequence[Row], pictures: Mapping[str, bytes]) -> str:
    """The same without its frame, for a notebook."""
    return filled("comparison.html.j2", **_compared(rows, differences, pictures))


def evaluation_part(evaluation: "Evaluation", pictures: Mapping[str, bytes]) -> str:
    """Scores by class, what they come to, and pictures, for a notebook."""
    return filled(
        "evaluation.html.j2",
        sentences=sentences(evaluation),
        headings=columns(),
        classes=[[label, *(f"{n:.3f}" for n in scores), f"{rows:,}"] for label, *scores, rows in by_class(evaluation)],
        pictures=shown(pictures),
    )


def ablation_page(ablation: Ablation, pictures: Mapping[str, bytes]) -> str:
    """An ablation as a page of its own, in the language in force."""
    return filled(
        "ablation.html.j2",
        title=text("report.ablation_title", variant=ablation.variant),
        sentences=list(guidance(ablation)),
        headings=ablation_columns(),
        parts_of=lines(ablation),
        pictures=shown(pictures),
    )


def audit_page(audit: Audit, pictures: Mapping[str, bytes]) -> str:
    """An audit as a page of its own, in the language in force."""
    domain_headings, domains = audit_domains(audit)
    return filled(
        "audit.html.j2",
        title=text("report.audit_title", adapter=audit.adapter),
        sentences=list(findings(audit)),
        headings=audit_columns(),
        members=audit_lines(audit),
        domain_headings=domain_headings,
        domains=domains,
        pictures=shown(pictures),
    )


def adapter_part(manifest: Manifest) -> str:
    """What a manifest says in short, for a notebook."""
    named = {name: value for name, value in facts(manifest).items() if value and value != "-"}
    return filled("adapter.html.j2", facts=[(text(f"cli.fact.{name}"), value) for name, value in named.items()])


def _compared(rows: Sequence[Row], differences: Sequence[Row], pictures: Mapping[str, bytes]) -> dict[str, object]:
    return {
        "verdicts": list(verdicts(rows, differences)),
        "headings": headings(),
        "methods": [cells(group) for group in summaries(rows)],
        "candidates": [cells(group) for group in candidates(rows)],
        "differences": [(d["method"], d["against"], signed(d["difference_points"]), interval(d)) for d in differences],
        "pictures": shown(pictures),
    }


def shown(pictures: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """Pictures as a page holds them, by their captions."""
    return [(text(caption), base64.b64encode(png).decode()) for caption, png in pictures.items()]


def filled(template: str, **values: object) -> str:
    """A template of a page or a part of one, in the language in force."""
    environment = Environment(
        loader=PackageLoader("tsugiki.report", "templates"),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(language=language(), t=text, **values)
