"""A comparison as one page that needs nothing else: styles inside, pictures inside, no script."""

import base64
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from tsugiki.i18n import language, text
from tsugiki.report.tables import Row, candidates, cells, headings, interval, signed, summaries, title
from tsugiki.report.verdicts import verdicts


def comparison_page(rows: Sequence[Row], differences: Sequence[Row], pictures: Sequence[Path]) -> str:
    """The page, in the language in force.

    Args:
        rows: of `results.json`.
        differences: of `differences.json`.
        pictures: PNG files: score against time and against parameters, and what runs by itself.
    """
    captions = [text(f"report.{name}") for name in ("score_by_time", "score_by_parameters", "coverage")]
    shown = [base64.b64encode(path.read_bytes()).decode() for path in pictures]
    environment = Environment(
        loader=PackageLoader("tsugiki.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("compare.html.j2").render(
        language=language(),
        t=text,
        title=title(rows),
        verdicts=list(verdicts(rows, differences)),
        headings=headings(),
        methods=[cells(group) for group in summaries(rows)],
        candidates=[cells(group) for group in candidates(rows)],
        differences=[(d["method"], d["against"], signed(d["difference_points"]), interval(d)) for d in differences],
        pictures=list(zip(captions, shown, strict=True)),
    )
