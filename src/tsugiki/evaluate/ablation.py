"""What each layer, each site and each module of an adapter brings, by leaving it out and by leaving it alone.

Modules are taken off and put back as they are: nothing is trained anew, and only the layers above the boundary are run.
Modules are dropped now and then in training, so an adapter has seen such gaps before. What is left out may be made up
for by another module, and what is left alone may have more to do than beside the others: both are told.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from tsugiki.ablation import Ablation, Kind, Part
from tsugiki.adapt.adapted import AdaptedModel, Graft
from tsugiki.adapt.package_checks import require_ungrouped
from tsugiki.base.prefix_cache import CachedRows, PrefixCache
from tsugiki.base.upkeep import CacheSettings
from tsugiki.data.rows import Rows
from tsugiki.data.split import subsample
from tsugiki.errors import PackageError, RowsError
from tsugiki.i18n import text
from tsugiki.progress import progress
from tsugiki.tasks.adapter import Adapter
from tsugiki.tasks.answering import classifier_of
from tsugiki.train.choice import paired, row_losses
from tsugiki.train.clock import answer_ms
from tsugiki.train.loop import scores
from tsugiki.train.scion import Scion

# More rows would tell the modules apart better than the picture can show.
_MOST_ROWS = 1_000


def ablate(adapter: Adapter, rows: Rows, cache: CacheSettings | None = None) -> Ablation:
    """Measure what the modules of an adapter bring on some rows.

    The scores are those of the states; words beside them stay out of it.

    Args:
        adapter: with modules.
        rows: labelled, that it was not trained on; a thousand of them are drawn where there are more.
        cache: whether and how much of their states is kept.

    Raises:
        PackageError: the adapter has no module.
        RowsError: there is no labelled row whose label it knows.
    """
    require_ungrouped(adapter.package, "ablate")
    if not adapter.package.grafts:
        raise PackageError("ablation.no_modules", package=adapter.manifest.name, variant=adapter.manifest.variant)
    if rows.labels is None or not adapter.task.known(adapter.task.targets(rows.labels)).any():
        raise RowsError("evaluate.no_labels" if rows.labels is None else "ablation.no_known_label")
    if len(rows) > _MOST_ROWS:
        rows = rows.take(subsample(rows.strata, _MOST_ROWS, seed=0))
    return _Bench.of(adapter, rows, cache).measure()


@dataclass(frozen=True)
class _Bench:
    """Rows under an adapter whose modules come and go.

    Args:
        adapter: the adapter.
        rows: that it answers.
        cached: their states at the boundary.
        targets: what would be right.
    """

    adapter: Adapter
    rows: Rows
    cached: CachedRows
    targets: Tensor

    @classmethod
    def of(cls, adapter: Adapter, rows: Rows, cache: CacheSettings | None) -> "_Bench":
        assert adapter.base is not None
        place, max_length = adapter.manifest.placement, int(adapter.manifest.task["max_length"])
        kept = {place.boundary} - {0}
        cached = PrefixCache(adapter.base, max_length, cache).rows(rows.texts, kept, place.exit)
        return cls(adapter, rows, cached, adapter.task.targets(rows.labels or ()))

    def measure(self) -> Ablation:
        """All modules, none of them, and all but some and some alone for every part."""
        adapter, grafts = self.adapter, self.adapter.package.grafts
        whole, none = self._logits(grafts), self._logits([])
        losses, without = self._losses(whole), self._losses(none)
        idle_ms = self._answer_ms([])
        asked = _parts(grafts)
        parts = []
        with progress(text("ablation.bar"), len(asked)) as advance:
            for kind, layer, site in asked:
                own = [g for g in grafts if layer in (None, g.layer) and site in (None, g.site)]
                rest = [g for g in grafts if g not in own]
                missed = paired(losses, self._losses(self._logits(rest)))
                kept = None if kind == "module" else paired(self._losses(self._logits(own)), without)
                added_ms = None if kind == "module" else self._answer_ms(own) - idle_ms
                parts.append(
                    Part(
                        kind=kind,
                        layer=layer,
                        site=site,
                        missed=missed[0],
                        missed_error=missed[1],
                        kept=kept and kept[0],
                        kept_error=kept and kept[1],
                        num_params=sum(self._num_params(graft) for graft in own),
                        added_ms=added_ms,
                    )
                )
                advance(1)
        base = adapter.manifest.base
        return Ablation(
            layer_digests=base.layer_digests,
            package=adapter.manifest.digest(),
            variant=adapter.manifest.variant,
            num_rows=len(losses),
            rows_digest=self.rows.digest(),
            num_layers=base.num_layers,
            loss=float(losses.mean()),
            loss_without=float(without.mean()),
            score=adapter.task.measure(whole, self.targets)[0],
            score_without=adapter.task.measure(none, self.targets)[0],
            parts=tuple(parts),
        )

    def _losses(self, logits: Tensor) -> Tensor:
        return row_losses(self.adapter.task, logits, self.targets)

    def _logits(self, grafts: Sequence[Graft]) -> Tensor:
        if not grafts:
            classifier = classifier_of(self.adapter.package)
            found: Tensor = classifier(self.cached.pooled[:, list(classifier.states)].flatten(1).float())
            return found.detach()
        scion, adapted = self._scion(grafts)
        try:
            return scores(scion, self.cached)
        finally:
            adapted.detach()

    def _answer_ms(self, grafts: Sequence[Graft]) -> float:
        scion, adapted = self._scion(grafts)
        try:
            return answer_ms(scion, self.cached)
        finally:
            adapted.detach()

    def _scion(self, grafts: Sequence[Graft]) -> tuple[Scion, AdaptedModel]:
        base, package = self.adapter.base, self.adapter.package
        assert base is not None
        adapted = AdaptedModel(base.model, base.anatomy)
        boundary = self.adapter.manifest.placement.boundary
        scion = Scion(adapted, grafts, classifier_of(package), 0, package.part("modules"), boundary)
        return scion.to(base.device), adapted

    def _num_params(self, graft: Graft) -> int:
        start = f"{graft.layer}.{graft.site}."
        return sum(t.numel() for name, t in self.adapter.package.part("modules").items() if name.startswith(start))


def _parts(grafts: Sequence[Graft]) -> list[tuple[Kind, int | None, str | None]]:
    """Kind, layer and site of every part, each once."""
    layers = sorted({graft.layer for graft in grafts})
    sites = dict.fromkeys(graft.site for graft in grafts)
    return [
        *(("layer", layer, None) for layer in layers),
        *(("site", None, site) for site in sites),
        *(("module", graft.layer, graft.site) for graft in grafts),
    ]
