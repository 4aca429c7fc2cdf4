"""A tiny base as a folder, rows that it can learn, and jobs over them."""

import random

import pytest

from tests.support.bases import tiny_base_folder
from tsugiki.data.rows import Rows
from tsugiki.evaluate.method import Job
from tsugiki.tasks.kinds.classify import Classify

_TEXTS = {
    "leak": ("oil leak at pump", "pump leaks oil", "oil leaking at the valve"),
    "noise": ("motor noise", "loud noise at the motor", "the belt is loud"),
    "heat": ("hot pump", "the valve runs hot", "hot motor"),
}


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory):
    return tiny_base_folder(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def decoder_folder(tmp_path_factory):
    return tiny_base_folder(tmp_path_factory.mktemp("decoder"), "llama")


def rows(number: int, seed: int) -> Rows:
    """Rows of three classes; every text has a serial number, so that each is recognised if it leaks."""
    draw = random.Random(seed)
    labels = [sorted(_TEXTS)[i % 3] for i in range(number)]
    return Rows(tuple(f"{draw.choice(_TEXTS[label])} {seed}x{i}" for i, label in enumerate(labels)), tuple(labels))


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "package"
    made.mkdir()
    return made


@pytest.fixture
def splits():
    return rows(24, 1), rows(12, 2), rows(12, 3)


@pytest.fixture
def job(base_folder, splits):
    train, validation, test = splits
    return Job(
        dataset="tickets",
        method={"kind": "tfidf"},
        train=train,
        validation=validation,
        test=test,
        task=Classify(labels=("heat", "leak", "noise")),
        base=str(base_folder),
        epochs=2,
    )
