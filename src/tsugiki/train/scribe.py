"""Modules that learn to write: the suffix of a decoder over cached states, and logits for supervised tokens alone."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from tsugiki.adapt.adapted import AdaptedModel, Graft
from tsugiki.base.suffix import run_states
from tsugiki.base.vocabulary import Vocabulary
from tsugiki.train.learner import NAME, Learner
from tsugiki.train.written import WrittenRows
from tsugiki.writing.losses import answer_losses


class Scribe(Learner):
    """Everything trainable, and how losses follow from cached rows.

    Args:
        adapted: the base.
        vocabulary: of the base.
        grafts: the modules, at least one.
        usual_tokens: of an answer, by which losses of rows are divided, so that a step weighs tokens and not rows.
        seed: of fresh modules.
        params: of modules that go on, by `LAYER.SITE.PARAMETER`; None for fresh ones.
    """

    def __init__(
        self,
        adapted: AdaptedModel,
        vocabulary: Vocabulary,
        grafts: Sequence[Graft],
        usual_tokens: float,
        seed: int,
        params: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(adapted, grafts, seed, params)
        self._vocabulary, self._usual_tokens = vocabulary, usual_tokens

    @property
    def boundary(self) -> int:
        """First layer that is run."""
        return min(graft.layer for graft in self.grafts)

    def forward(self, rows: WrittenRows, indices: Sequence[int]) -> Tensor:
        """Losses of some rows, in units of the loss of a token, (B,)."""
        return self.row_losses(rows, indices) / self._usual_tokens

    def row_losses(self, rows: WrittenRows, indices: Sequence[int]) -> Tensor:
        """Losses of the answers of some rows in nats, (B,)."""
        ids, mask = rows.batch(indices)
        entering = rows.state(self.boundary, indices) if self.boundary else None
        model, anatomy = self._adapted.model, self._adapted.anatomy
        last = anatomy.num_layers
        with self._adapted.using(NAME):
            found = run_states(model, anatomy, ids, mask, (last,), boundary=self.boundary, state=entering)[last]
        return answer_losses(self._vocabulary, found, ids, mask, [rows.starts[i] for i in indices])
