"""The model card of a package: its manifest, told to people and to Hugging Face."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tsugiki.i18n import text
from tsugiki.manifest import Control, Manifest

# SPDX identifiers whose lower case Hugging Face knows as a licence.
_KNOWN_LICENCES = {
    *("Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "MPL-2.0", "ISC", "Zlib", "Unlicense", "EUPL-1.2"),
    *("CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-4.0"),
}
# Below this many rows of a label its score is a guess.
RARE_ROWS = 10
_MARKUP = str.maketrans({c: f"\\{c}" for c in "\\|`*_[]<>#"})


def card(manifest: Manifest) -> str:
    """`README.md` of a package: what it is, how to use it, how good it is, what it cost and its limits.

    It speaks the language in force; names, numbers and the front matter are the same in every language.

    Args:
        manifest: with the digests of its tensors.
    """
    labels = [str(label) for label in manifest.task.get("labels") or ()]
    columns = list(dict.fromkeys(key for candidate in manifest.candidates for key in candidate))
    return (
        _environment()
        .get_template("card.md.j2")
        .render(
            t=text,
            m=manifest,
            digest=manifest.digest(),
            # As `Base.digest` says it when the same layers are loaded.
            base_digest=hashlib.sha256("".join(manifest.base.layer_digests).encode()).hexdigest(),
            labels=labels,
            rare=[label for label in labels if manifest.data.class_counts.get(label, 0) < RARE_ROWS],
            rare_rows=RARE_ROWS,
            licence=_licence(manifest.licence),
            columns=columns,
            controls=[control_sentence(control) for control in manifest.controls],
            # A share is least certain at one half: sqrt(0.5 * 0.5 / n).
            error_points=50 / manifest.data.num_validation**0.5 if manifest.data.num_validation else None,
        )
    )


def control_sentence(control: Control) -> str:
    """Whether a chosen placement was better than one of the same cost, and by how much."""
    facts = {"passes": control.passes, "chosen": control.chosen, "variant": control.variant}
    return text(f"report.control.{control.verdict}", **facts, difference=-control.gain, margin=control.margin)


def export_card(manifest: Manifest, format: str, runners: Mapping[str, str]) -> str:
    """`README.md` of an export: what it is, what takes it and how, and what may be done with it.

    It speaks the language in force.

    Args:
        manifest: of the package that was exported.
        format: that it was written in.
        runners: the programs that take it, and how each loads it.
    """
    template = _environment().get_template("export.md.j2")
    licence = _licence(manifest.licence)
    return template.render(
        t=text, m=manifest, digest=manifest.digest(), format=format, runners=runners, licence=licence
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tsugiki.report", "templates"),
        autoescape=False,  # Markdown: `plain` and `quoted` make harmless what comes from outside
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"plain": _plain, "quoted": _quoted, "value": _value}
    return environment


def _plain(value: object) -> str:
    """Text that stays one line and means nothing in Markdown or HTML."""
    return " ".join(str(value).split()).translate(_MARKUP)


def _quoted(value: object) -> str:
    """A literal that YAML and Python read alike, without a character that HTML would mind."""
    return json.dumps(str(value)).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _value(value: object) -> str:
    """A number with four digits that count, anything else as text."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, dict | list | tuple):
        return _plain(json.dumps(value, ensure_ascii=False))
    return "" if value is None else _plain(value)


def _licence(expression: str | None) -> dict[str, Any] | None:
    if expression is None:
        return None
    if expression in _KNOWN_LICENCES:
        return {"license": expression.lower()}
    return {"license": "other", "license_name": expression}
