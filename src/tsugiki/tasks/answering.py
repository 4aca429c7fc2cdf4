"""What an adapter makes of states and words: logits, and predictions of these."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tsugiki.adapt.classifier import Classifier
from tsugiki.adapt.package import Package
from tsugiki.adapt.reader import READERS
from tsugiki.data.texts import clip
from tsugiki.spec import parse
from tsugiki.tasks.task import task_of

if TYPE_CHECKING:
    from tsugiki.data.lexicon import Lexicon

# Batches of other lengths give the same answer a last digit of its own.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Prediction:
    """One answer.

    Args:
        label: the answer; of a task with several labels all of them, joined by `;`.
        probability: of it, calibrated on validation (0..1).
        runner_up: the next one.
        runner_up_probability: of it (0..1).
        needs_review: whether a person should look at it: its probability is below the threshold for the precision that
            is wanted, or nothing is known about how sure answers are.
    """

    label: str
    probability: float
    runner_up: str
    runner_up_probability: float
    needs_review: bool

    def to_dict(self) -> dict[str, str | float | bool | None]:
        """As plain data."""
        return asdict(self)


class Answering:
    """Head and words of a package.

    Args:
        package: what was trained.
        device: of the states; None where the words alone decide.
    """

    def __init__(self, package: Package, device: torch.device | None) -> None:
        self.package = package
        self.task = task_of(package.manifest.task)
        self.max_length = int(package.manifest.task["max_length"])
        self.classifier = None if device is None else classifier_of(package).to(device)
        self._lexicon = _lexicon(package)

    def of_states(self, states: Tensor, mask: Tensor) -> Tensor:
        """Logits of states (K, B, S, d), those that the head reads, and mask (B, S): (B, C)."""
        assert self.classifier is not None
        logits: Tensor = self.classifier(self.classifier.read(states, mask))
        return logits

    def words(self, texts: Sequence[str]) -> Tensor | None:
        """Scores of the words (N, C); None where they are not used."""
        if self._lexicon is None:
            return None
        return torch.from_numpy(self._lexicon.scores([clip(text, self.max_length) for text in texts]))

    def sure(self, words: Tensor | None) -> Tensor | None:
        """Rows that the words answer alone, bool (N,); None where they never do."""
        shortcut = self.package.manifest.head.shortcut
        if shortcut is None or words is None:
            return None
        return self.task.answers(words / shortcut.temperature).probability >= shortcut.threshold

    def joined(self, of_states: Tensor | None, texts: Sequence[str], words: Tensor | None = None) -> Tensor:
        """Calibrated logits (N, C): those of the states, which are None where the words alone decide, and the words.

        Args:
            of_states: logits of the states; of rows that the words answer alone they may be anything.
            texts: of the rows.
            words: scores of their words, where they are known already.
        """
        head, found = self.package.manifest.head, of_states
        words = self.words(texts) if words is None else words
        if words is not None:
            share = head.words_share
            found = words if found is None else self.task.mix(found, words, share) if share else found
            if head.shortcut is not None and (sure := self.sure(words)) is not None:
                found = torch.where(sure[:, None], words * head.shortcut.scale, found)
        assert found is not None
        return found / head.temperature

    def predictions(self, logits: Tensor, target_precision: float | None = None) -> list[Prediction]:
        """Answers to rows, from their calibrated logits (N, C)."""
        review = self.package.manifest.review
        threshold = review.rule(target_precision).threshold if review else math.inf
        found = self.task.answers(logits)
        answers = (self.task.names(found.best), found.probability.tolist())
        following = (self.task.names(found.runner_up), found.runner_up_probability.tolist())
        return [
            Prediction(label, p, other, q, needs_review=p < threshold - _ROUNDING)
            for label, p, other, q in zip(*answers, *following, strict=True)
        ]


def classifier_of(package: Package) -> Classifier:
    """Reader and head of a package, frozen."""
    head = package.manifest.head
    reader = READERS.parse(head.reader)
    classifier = Classifier(
        head.states,
        reader,
        package.part("reader"),
        package.tensors["head.weight"].float(),
        package.tensors["head.bias"].float(),
    )
    return classifier.requires_grad_(False).eval()


def _lexicon(package: Package) -> "Lexicon | None":
    if package.manifest.head.words is None:
        return None
    # scikit-learn, which is a second that an adapter without words need not wait.
    from tsugiki.data.lexicon import Lexicon, LexiconSpec

    tensors = {name: tensor.numpy() for name, tensor in package.part("lexicon").items()}
    return Lexicon.from_tensors(parse(LexiconSpec, package.manifest.head.words, where="head.words"), tensors)
