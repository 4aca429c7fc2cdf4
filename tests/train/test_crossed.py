"""A head for few rows learns from all of them, and is measured by rows that heads had not learnt from."""

import pytest
import torch

from tests.support.bases import tiny_base_folder
from tests.support.runs import TASK, easy_rows, labelled, tiny_base
from tsugiki.data.rows import Splits
from tsugiki.placement.plan import head_states
from tsugiki.train.config import read_config
from tsugiki.train.crossed import ALL_ROWS, MOST_ROWS, crossed_head
from tsugiki.train.heads import features_of
from tsugiki.train.loop import Labelled
from tsugiki.train.run import train_adapter

STATES = (2, 4)


@pytest.fixture(autouse=True, scope="module")
def _own_home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSUGIKI_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def parts():
    base, rows = tiny_base(), easy_rows(42)
    return labelled(base, rows.take(range(33))), labelled(base, rows.take(range(33, 42)))


def test_it_learns_from_both_and_is_asked_what_it_did_not_learn(parts):
    train, held = parts
    found = crossed_head(train, held, STATES, seed=0)
    assert found.variant == ALL_ROWS and found.logits.shape == (9, 3)
    own = features_of(held, STATES) @ found.tensors["head.weight"].T + found.tensors["head.bias"]
    # Of rows that it learnt from it is surer than heads are that did not.
    assert TASK.measure(own, held.targets)[1] < found.loss
    assert (found.score, found.loss) == TASK.measure(found.logits, held.targets)


def test_the_same_seed_gives_the_same_head_and_an_unknown_label_teaches_nothing(parts):
    train, held = parts
    one, two = (crossed_head(train, held, STATES, seed=3) for _ in range(2))
    assert torch.equal(one.tensors["head.weight"], two.tensors["head.weight"])
    strange = Labelled(held.rows, torch.where(torch.arange(9) < 3, -1, held.targets), TASK)
    assert crossed_head(train, strange, STATES, seed=3).tensors["head.weight"].isfinite().all()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base_folder(tmp_path_factory.mktemp("base"))


def config_of(base, **settings):
    """Where modules stand is left to us, unlike in most tests."""
    own = {key.replace("__", "."): value for key, value in settings.items()}
    usual = {"base": str(base), "precision": "fp32", "data.illegible": "warn", "train.epochs": 1}
    return read_config(None, usual | own)


def splits(number):
    rows = easy_rows(number)
    return Splits(rows.take(range(48)), rows.take(range(48, number)))


def test_with_few_rows_nothing_is_raced(base):
    trained = train_adapter(splits(MOST_ROWS), config_of(base))
    assert [c.variant for c in trained.candidates] == [ALL_ROWS] and "too few rows" in trained.verdict
    assert trained.adapter.manifest.head.states == head_states(4)
    assert len(trained.adapter.predict(["oil leak", "belt stuck"])) == 2
    trained.adapter.close()


@pytest.mark.parametrize(
    ("number", "settings"),
    [(MOST_ROWS + 1, {}), (MOST_ROWS, {"placement__boundary": 2}), (MOST_ROWS, {"budget__min_score": 0.1})],
)
def test_with_more_or_where_something_is_asked_for_there_is_a_race(base, number, settings):
    trained = train_adapter(splits(number), config_of(base, **settings))
    assert ALL_ROWS not in {c.variant for c in trained.candidates}
    trained.adapter.close()
