"""Words and characters with a linear support vector machine: no language model at all."""

from pathlib import Path
from typing import Literal

from safetensors.numpy import load_file, save_file

from tsugiki.data.lexicon import STRENGTHS, Lexicon, LexiconSpec
from tsugiki.evaluate.measure import Clock
from tsugiki.evaluate.method import Job, Method, Outcome, Predict

_FILE = "lexicon.safetensors"


class Tfidf(Method):
    """The lexicon alone, its strength chosen on validation."""

    kind: Literal["tfidf"] = "tfidf"

    def open_base(self, job: Job) -> None:
        """None is needed."""

    def fit(self, job: Job) -> Outcome:
        """Fit for each strength."""
        clock = Clock()
        indicator = job.task.indicator(job.targets).numpy()
        curve: list[tuple[float, float]] = []
        best: tuple[float, float, Lexicon] | None = None
        fitted = Lexicon.path(job.train.texts, indicator, STRENGTHS, seed=job.seed)
        for strength, lexicon in zip(STRENGTHS, fitted, strict=True):
            seconds = clock.seconds
            with clock.paused():
                score = job.validation_score(_predictor(lexicon))
            if best is None or score > best[0]:
                best = (score, strength, lexicon)
            curve.append((seconds, best[0]))
        assert best is not None
        _, strength, lexicon = best
        return Outcome(
            variant=f"strength {strength:g}",
            curve=tuple(curve),
            num_trainable=lexicon.weight.size + lexicon.bias.size,
            train_s=curve[-1][0],
            cache_s=0.0,
            predict=_predictor(lexicon),
            save=lambda folder: save_file(lexicon.tensors(), folder / _FILE),
        )

    def load(self, folder: Path, job: Job) -> Predict:
        """The lexicon from its tensors."""
        return _predictor(Lexicon.from_tensors(LexiconSpec(), load_file(folder / _FILE)))


def _predictor(lexicon: Lexicon) -> Predict:
    return lambda rows: lexicon.scores(rows.texts)
