"""An adapter ready to answer: a package on its base."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsugiki.adapt.adapted import AdaptedModel
from tsugiki.adapt.gates import Gates
from tsugiki.adapt.gating import Gating
from tsugiki.adapt.groups import Groups
from tsugiki.adapt.package import Package, load_package, save_package
from tsugiki.adapt.package_checks import check_base
from tsugiki.adapt.router import ROUTERS
from tsugiki.base.model import Base, load_base
from tsugiki.base.precision import Precision
from tsugiki.base.suffix import run_states
from tsugiki.base.tokens import encode, pad
from tsugiki.data.batches import length_batches
from tsugiki.data.reading import Reading
from tsugiki.data.texts import PAIR, pair
from tsugiki.errors import PackageError, RoutingError
from tsugiki.i18n import warn
from tsugiki.manifest import Manifest
from tsugiki.report.card import card
from tsugiki.report.html import adapter_part
from tsugiki.tasks.answering import Answering, Prediction

_NAME = "adapter"


class Adapter:
    """A classifier made of a frozen base and a package.

    Args:
        package: what was trained.
        base: the base, loaded at least up to the exit; None where the words alone decide.

    Raises:
        PackageError: the package belongs to another base.
    """

    def __init__(self, package: Package, base: Base | None) -> None:
        self.package = package
        self.base = base
        self._answering = Answering(package, None if base is None else base.device)
        self.task = self._answering.task
        self.labels: tuple[str, ...] = self.task.labels
        self._adapted = None
        if base is not None:
            check_base(package, base)
            self._adapted = AdaptedModel(base.model, base.anatomy)
            self._adapted.attach(_NAME, package.grafts, package.part("modules"))
        self._groups = None if self._adapted is None else _groups(package, self._adapted)

    @classmethod
    def load(cls, folder: str | Path, base: Base | str | None = None, precision: Precision = "auto") -> "Adapter":
        """Load a package and the layers of the base that it needs.

        Args:
            folder: of the package.
            base: the base, or where it is; None takes the one that the package was trained on.
            precision: of the base's weights.

        Raises:
            MissingError: package or base is not there.
            PackageError: the package is damaged or belongs to another base.
        """
        package = load_package(Path(folder))
        if "labels" not in package.manifest.task:
            raise PackageError("package.no_labels", package=package.manifest.name, folder=folder)
        return cls.on_base(package, base, precision)

    @classmethod
    def on_base(cls, package: Package, base: Base | str | None = None, precision: Precision = "auto") -> "Adapter":
        """Load the layers of the base that a package needs.

        Raises:
            MissingError: the base is not there.
            PackageError: the package belongs to another base.
        """
        exit = package.manifest.placement.exit
        if exit and not isinstance(base, Base):
            base = load_base(base or package.manifest.base.name, precision=precision, exit=exit)
        return cls(package, base if exit and isinstance(base, Base) else None)

    @property
    def manifest(self) -> Manifest:
        """What the package says of itself."""
        return self.package.manifest

    @property
    def reading(self) -> Reading:
        """How the rows it was trained on were read."""
        found = {"task": self.task.kind} | self.manifest.training.get("data", {})
        return Reading.model_validate({name: found[name] for name in Reading.model_fields if name in found})

    @property
    def num_trainable(self) -> int:
        """Number of trained parameters in use; those of the lexicon count too."""
        parts = ("modules.", "groups.", "gates.", "reader.", "head.", "lexicon.weight", "lexicon.bias")
        return sum(t.numel() for n, t in self.package.tensors.items() if n.startswith(parts))

    def predict(
        self,
        texts: str | Iterable[str | tuple[str, str]],
        target_precision: float | None = None,
        domains: Sequence[str | None] | None = None,
    ) -> list[Prediction]:
        """Answer for each text.

        Args:
            texts: one, or a list, an array or a column of them; of pairs of texts, where it was trained on pairs.
            target_precision: that answers shall have which need no review (0..1); None takes the one of training.
            domains: of each text, None where it is not known, so that the modules of this domain act; None lets the
                adapter find out. One that has no modules of its own is answered without those of any.

        Raises:
            RoutingError: the adapter has no modules of domains, or there are more or fewer domains than texts.
        """
        asked = [texts] if isinstance(texts, str) else [t if isinstance(t, str) else pair(*t) for t in texts]
        if not asked:
            return []
        return self._answering.predictions(torch.from_numpy(self.scores(asked, domains)), target_precision)

    @property
    def reads_pairs(self) -> bool:
        """Whether it was trained on pairs of texts."""
        return bool(self.manifest.task.get("pairs"))

    def scores(self, texts: Sequence[str], domains: Sequence[str | None] | None = None) -> NDArray[np.float32]:
        """Calibrated logits, (N, C), in the order of `labels`; the task makes answers and probabilities of them."""
        places = None if domains is None else self._places(domains, len(texts))
        if single := sum(PAIR not in text for text in texts) if self.reads_pairs else 0:
            warn("predict.not_pairs", count=single)
        words = self._answering.words(texts)
        sure = self._answering.sure(words)
        rows = list(range(len(texts))) if sure is None else (~sure).nonzero().squeeze(1).tolist()
        return self._answering.joined(self._state_scores(texts, places, rows), texts, words).numpy()

    @torch.inference_mode()
    def gating(self, text: str) -> Gating | None:
        """What gates decide about a text; None where the adapter has no groups of modules."""
        if self._groups is None or self.base is None:
            return None
        batch, mask = (t.to(self.base.device) for t in pad(encode(self.base, [text], self._answering.max_length)))
        return self._groups.run(batch, mask, self.manifest.head.states)[1]

    def save(self, folder: str | Path) -> None:
        """Write the package to a folder, after which an adapter is called that has no name yet."""
        place = Path(folder)
        named = self.manifest if self.manifest.name else self.manifest.model_copy(update={"name": place.resolve().name})
        save_package(place, named, self.package.tensors, card)

    def _repr_html_(self) -> str:
        """In a notebook: what the adapter is, on which base, and how good."""
        return adapter_part(self.manifest)

    def close(self) -> None:
        """Take the modules off the base."""
        if self._adapted is not None:
            self._adapted.detach()

    def _places(self, domains: Sequence[str | None], rows: int) -> Tensor:
        """Numbers of domains, -1 for one without modules of its own, (N,)."""
        routing = self.manifest.routing
        if routing is None or not routing.domains:
            raise RoutingError("routing.no_domains", name=self.manifest.name)
        if len(domains) != rows:
            raise RoutingError("routing.rows", found=len(domains), allowed=rows)
        number = {domain: at for at, domain in enumerate(routing.domains)}
        return torch.tensor([number.get(domain or "", -1) for domain in domains], dtype=torch.int64)

    @torch.inference_mode()
    def _state_scores(self, texts: Sequence[str], domains: Tensor | None, asked: Sequence[int]) -> Tensor | None:
        """Logits of the states of the rows that are asked for, zeros for others (N, C)."""
        if self.base is None:
            return None
        ids = encode(self.base, [texts[row] for row in asked], self._answering.max_length)
        out = torch.zeros(len(texts), len(self.labels))
        budget = self.base.batch_tokens
        for batch in length_batches([len(row) for row in ids], budget, budget):
            rows = [asked[at] for at in batch]
            own = None if domains is None else domains[rows].to(self.base.device)
            out[rows] = self._logits([ids[at] for at in batch], own).float().cpu()
        return out

    def _logits(self, ids: list[list[int]], domains: Tensor | None) -> Tensor:
        assert self.base is not None and self._adapted is not None
        batch, mask = pad(ids)
        batch, mask = batch.to(self.base.device), mask.to(self.base.device)
        states = self.manifest.head.states
        if self._groups is not None:
            found, _ = self._groups.run(batch, mask, states, domains)
            return self._answering.of_states(torch.stack([found[s] for s in states]), mask)
        # Nothing to mask where nothing is padded, which spares a single answer the mask.
        seen = mask if not bool(mask.all()) else None
        with self._adapted.using(_NAME):
            found = run_states(self.base.model, self.base.anatomy, batch, seen, states)
        return self._answering.of_states(torch.stack([found[s] for s in states]), mask)


def _groups(package: Package, adapted: AdaptedModel) -> Groups | None:
    """The groups of a package on its base; None where it has none."""
    routing = package.manifest.routing
    if routing is None:
        return None
    device = next(adapted.model.parameters()).device
    gates = Gates(len(routing.domains), package.part("gates")).requires_grad_(False).to(device)
    boundary = package.manifest.placement.boundary
    rule = ROUTERS.parse(routing.router)
    return Groups(adapted, _NAME, package.groups, gates, rule, boundary, package.part("groups"))
