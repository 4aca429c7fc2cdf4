"""Ours: cache, head and every candidate of the race are on the clock, and the best on validation answers."""

from pathlib import Path
from typing import Any, Literal

from tsugiki.data.rows import Rows, Splits
from tsugiki.evaluate.method import Job, Logits, Method, Outcome, Predict
from tsugiki.tasks.adapter import Adapter
from tsugiki.train.candidate import Candidate
from tsugiki.train.config import Config
from tsugiki.train.run import Trained, train_adapter
from tsugiki.train.shortcut import FIRST


class Tsugiki(Method):
    """An adapter, trained as `tsugiki train` does.

    Args:
        config: of the run; base, precision, length, batch rule and seed are the job's.
    """

    kind: Literal["tsugiki"] = "tsugiki"
    config: Config = Config()

    def fit(self, job: Job) -> Outcome:
        """Train, and let each candidate that lost have a row of its own."""
        trained = train_adapter(Splits(job.train, job.validation), self._config(job))
        winner = trained.adapter.manifest.variant
        return Outcome(
            variant=winner,
            curve=tuple(trained.curve),
            num_trainable=trained.adapter.num_trainable,
            train_s=trained.seconds["total"],
            cache_s=trained.seconds["cache"],
            predict=_predictor(trained.adapter, job),
            save=trained.adapter.save,
            candidates=tuple(_lost(trained, c, job) for c in trained.candidates if c.variant != winner),
        )

    def load(self, folder: Path, job: Job) -> Predict:
        """The package, and the base up to its exit."""
        return _predictor(Adapter.load(folder, job.base, job.precision), job)

    def _config(self, job: Job) -> Config:
        shared: dict[str, Any] = job.model_dump(include={"batch_tokens", "batch_rows", "seed"})
        return self.config.model_copy(
            update={
                "base": job.base,
                "precision": job.precision,
                "data": self.config.data.model_copy(update={"max_length": job.max_length, "task": job.task.kind}),
                "train": self.config.train.model_copy(update=shared),
            }
        )


def _lost(trained: Trained, candidate: Candidate, job: Job) -> Outcome:
    """A candidate as if it had been the only one: what it rests on, and its own seconds."""
    cache_s = trained.seconds["cache"] if candidate.placement.exit else 0.0
    # Modules start from the fitted head, unless they start fresh.
    rests_on_head = (
        not candidate.variant.removeprefix(FIRST).startswith(("head", "words")) and "fresh" not in candidate.variant
    )
    before_s = cache_s + (trained.seconds["head"] if rests_on_head else 0.0)

    def predict(rows: Rows) -> Logits:
        adapter = trained.adapter_of(candidate)
        try:
            return _predictor(adapter, job)(rows)
        finally:
            adapter.close()

    def save(folder: Path) -> None:
        adapter = trained.adapter_of(candidate)
        adapter.save(folder)
        adapter.close()

    return Outcome(
        variant=candidate.variant,
        curve=tuple((before_s + seconds, score) for seconds, score in candidate.curve),
        num_trainable=candidate.num_trainable,
        train_s=before_s + candidate.train_s,
        cache_s=cache_s,
        predict=predict,
        save=save,
    )


def _predictor(adapter: Adapter, job: Job) -> Predict:
    """Scores in the order of the job's labels; domains of rows are not told, and have to be found."""
    order = [adapter.labels.index(label) for label in job.labels]
    return lambda rows: adapter.scores(rows.texts)[:, order]
