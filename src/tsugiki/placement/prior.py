"""What ablations of earlier adapters say of a base: where modules paid, whatever the task was.

Each `tsugiki ablate` is kept at home. A base is known by the digests of its layers: a prior never comes from another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from tsugiki.ablation import Ablation
from tsugiki.errors import ConfigError
from tsugiki.home import home, private_folder, write_atomically
from tsugiki.placement.evidence import Place

_FOLDER = "ablations"
# Fewer places cannot be ranked.
_FEWEST = 3


@dataclass(frozen=True)
class Prior:
    """Where modules paid.

    Args:
        shares: of what all modules brought, by place; of places without a module the mean of the others.
        measured: places that had a module in some ablation.
        num_ablations: that it comes from.
    """

    shares: Mapping[Place, float]
    measured: frozenset[Place]
    num_ablations: int

    def agreement(self, gains: Mapping[Place, Sequence[float]]) -> float:
        """Rank correlation with what new rows say of the same places, -1..1; 0 where it cannot be told."""
        places = [place for place in gains if place in self.measured]
        if len(places) < _FEWEST:
            return 0.0
        found = spearmanr([self.shares[place] for place in places], [gains[place][-1] for place in places]).statistic
        return float(np.nan_to_num(found))


def remember(ablation: Ablation) -> None:
    """Keep an ablation for the next task on the same base."""
    content = ablation.model_dump_json().encode()
    write_atomically(private_folder(home() / _FOLDER) / f"{ablation.package[:32]}.json", content)


def prior_for(
    layer_digests: Sequence[str], sites: Mapping[int, Sequence[str]], path: Path | None = None
) -> Prior | None:
    """What is known of a base; None where nothing is.

    Args:
        layer_digests: of the base's embeddings and layers.
        sites: by layer, that may be taken.
        path: of an ablation to go by; None takes all that were kept at home.

    Raises:
        MissingError: there is nothing at `path`.
        ConfigError: it is no ablation, or one of another base.
    """
    if path is not None:
        found = [Ablation.read(path)]
        if not found[0].fits(layer_digests):
            raise ConfigError("ablation.other_base", path=path)
    else:
        kept = map(Ablation.read, sorted((home() / _FOLDER).glob("*.json")))
        found = [ablation for ablation in kept if ablation.fits(layer_digests)]
    known = [shares for ablation in found if (shares := _shares(ablation))]
    places = [(layer, site) for layer, own in sites.items() for site in own]
    measured = frozenset(place for place in places if any(place in shares for shares in known))
    if not measured:
        return None
    means = {place: np.mean([shares[place] for shares in known if place in shares]) for place in measured}
    middle = float(np.mean(list(means.values())))
    shares = {place: float(means.get(place, middle)) for place in places}
    total = sum(shares.values())
    return Prior({place: share / total for place, share in shares.items()}, measured, len(known))


def _shares(ablation: Ablation) -> dict[Place, float]:
    """What each module brought, in units of the mean module; empty where none brought anything.

    Half of it is how much a module was missed, half how much its layer and its site kept alone: of modules that make up
    for each other none is missed, and all keep much.
    """
    layers = {part.layer: max(0.0, part.kept or 0.0) for part in ablation.of("layer")}
    sites = {part.site: max(0.0, part.kept or 0.0) for part in ablation.of("site")}
    modules = ablation.of("module")
    missed = np.array([max(0.0, part.missed) for part in modules])
    kept = np.array([layers[part.layer] * sites[part.site] for part in modules])
    halves = [half / half.mean() for half in (missed, kept) if half.sum() > 0]
    if not halves:
        return {}
    return {
        (part.layer, part.site): float(share)
        for part, share in zip(modules, np.mean(halves, axis=0), strict=True)
        if part.layer is not None and part.site is not None
    }
