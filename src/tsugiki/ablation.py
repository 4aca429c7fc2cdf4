"""What the parts of an adapter bring, as it is written down: `ablation.json`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from tsugiki.errors import ConfigError, MissingError
from tsugiki.spec import Spec

Kind = Literal["layer", "site", "module"]


class Part(Spec):
    """Some of the modules of an adapter, and what they bring on a row in the mean.

    Args:
        kind: all modules of a layer, all of a site in whatever layer, or a single one.
        layer: None for a site.
        site: None for a layer.
        missed: loss that is added where they are left out.
        missed_error: its standard error over rows.
        kept: loss that they save where they stand alone; None for a single module.
        kept_error: likewise.
        num_params: of these modules.
        added_ms: that they add to an answer; None for a single module.
    """

    kind: Kind
    layer: int | None
    site: str | None
    missed: float
    missed_error: float
    kept: float | None
    kept_error: float | None
    num_params: int
    added_ms: float | None


class Ablation(Spec):
    """What the modules of one adapter bring.

    Args:
        layer_digests: of the base's embeddings and of its layers up to the exit.
        package: digest of the adapter.
        variant: of the adapter.
        num_rows: that it was measured on.
        rows_digest: of these rows.
        num_layers: of the base.
        loss: on a row in the mean, with all modules.
        loss_without: with none.
        score: with all modules (0..1).
        score_without: with none.
        parts: layers, then sites, then modules.
    """

    layer_digests: tuple[str, ...]
    package: str
    variant: str
    num_rows: int
    rows_digest: str
    num_layers: int
    loss: float
    loss_without: float
    score: float
    score_without: float
    parts: tuple[Part, ...]

    def of(self, kind: str) -> list[Part]:
        """Its parts of one kind."""
        return [part for part in self.parts if part.kind == kind]

    @property
    def gain(self) -> float:
        """Loss that all modules save together."""
        return self.loss_without - self.loss

    def fits(self, layer_digests: Sequence[str]) -> bool:
        """Whether it was measured on these layers."""
        return self.layer_digests == tuple(layer_digests[: len(self.layer_digests)])

    @classmethod
    def read(cls, path: Path) -> "Ablation":
        """Read what `tsugiki ablate` wrote.

        Raises:
            MissingError: there is no such file.
            ConfigError: it is something else.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except (FileNotFoundError, IsADirectoryError) as error:
            raise MissingError("ablation.missing", path=path) from error
        except (ValidationError, OSError) as error:
            raise ConfigError("ablation.no_ablation", path=path) from error
