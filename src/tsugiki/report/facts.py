"""What a manifest says of an adapter, in lines for people."""

from tsugiki.i18n import text
from tsugiki.manifest import Manifest, RoutingFacts


def facts(m: Manifest) -> dict[str, str]:
    """Values by the last part of their name in the catalogue, `cli.fact.NAME`; `-` where there is none."""
    base, where = m.base, m.placement
    modules = ", ".join(f"{module.layer}.{module.site} ({module.form.get('kind')})" for module in where.modules)
    return {
        "name": m.name,
        "task": str(m.task.get("kind")),
        "base": f"{base.name} ({base.architecture}, {base.num_layers} x {base.width})",
        "variant": m.variant,
        "layers": text("cli.inspect.layers", exit=where.exit, num_layers=base.num_layers),
        "modules": modules or "-",
        "groups": _groups(m.routing) if m.routing else "-",
        "rows": f"{m.data.num_train:,} + {m.data.num_validation:,}",
        "metrics": ", ".join(f"{name} {number:,.4g}" for name, number in sorted(m.metrics.items())) or "-",
        "licence": m.licence or "-",
        "terms": m.usage_terms or "-",
        "version": m.tsugiki_version,
    }


def _groups(routing: RoutingFacts) -> str:
    others = len(routing.groups) - len(routing.domains)
    without = [text("cli.inspect.no_domain", count=others, route_by=routing.route_by)] if others else []
    return ", ".join([*routing.domains, *without])
