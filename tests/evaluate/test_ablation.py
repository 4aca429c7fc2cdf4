"""What layers, sites and modules bring, on tiny bases with modules that are known to do something or nothing."""

import json
from dataclasses import replace

import pytest
import torch

from tests.support.bases import tiny_base_folder
from tests.support.models import LAYERS
from tests.support.runs import easy_splits, quick_config
from tsugiki.ablation import Ablation
from tsugiki.data.rows import Rows
from tsugiki.errors import ConfigError, MissingError, PackageError, RowsError
from tsugiki.evaluate.ablation import ablate
from tsugiki.placement.evidence import RANKS
from tsugiki.placement.prior import prior_for, remember
from tsugiki.report.ablation import guidance, lines
from tsugiki.tasks.adapter import Adapter
from tsugiki.train.choice import row_losses
from tsugiki.train.run import train_adapter

SITES = dict.fromkeys(range(LAYERS), ("attention.query", "mlp.up"))


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_base_folder(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def grafted(bert, tmp_path_factory):
    """An adapter with low-rank modules at two sites of the upper two layers, as large as makes a difference."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSUGIKI_HOME", str(tmp_path_factory.mktemp("home")))
        settings = {
            "placement__strategy": "top",
            "placement__boundary": LAYERS - 2,
            "placement__sites": list(SITES[0]),
            "placement__form": {"kind": "low_rank", "rank": 4},
            "train__words": False,
        }
        trained = train_adapter(easy_splits(), quick_config(bert, **settings))
        (candidate,) = [c for c in trained.candidates if c.placement.modules]
        yield trained.adapter_of(candidate)


def with_modules(adapter, change):
    """The same adapter with its module tensors changed."""
    package = adapter.package
    tensors = {n: change(n, t) if n.startswith("modules.") else t for n, t in package.tensors.items()}
    return Adapter(replace(package, tensors=tensors), adapter.base)


def only(layer):
    return lambda name, tensor: tensor if name.startswith(f"modules.{layer}.") else torch.zeros_like(tensor)


def paying(ablation, layer):
    """The same ablation, had the modules of one layer done everything."""
    worth = {layer: 1.0, None: 1.0}
    parts = (p.model_copy(update=dict.fromkeys(("missed", "kept"), worth.get(p.layer, 0.0))) for p in ablation.parts)
    return ablation.model_copy(update={"parts": tuple(parts)})


@pytest.fixture
def rows():
    return easy_splits().test


def test_all_and_none_are_those_of_the_adapter_itself(grafted, rows):
    found = ablate(grafted, rows)
    targets = grafted.task.targets(rows.labels)
    # Both are brought to the temperature that suits them best, out of the same few.
    temperature = grafted.manifest.head.temperature
    whole = row_losses(grafted.task, torch.from_numpy(grafted.scores(rows.texts)) * temperature, targets)
    assert found.loss == pytest.approx(float(whole.mean()), abs=1e-5)
    bare = with_modules(grafted, lambda _, tensor: torch.zeros_like(tensor))
    without = row_losses(grafted.task, torch.from_numpy(bare.scores(rows.texts)) * temperature, targets)
    assert found.loss_without == pytest.approx(float(without.mean()), abs=1e-5)
    assert found.num_rows == len(rows) and found.gain != 0


def test_every_layer_site_and_module_has_its_part(grafted, rows):
    found = ablate(grafted, rows)
    assert [part.layer for part in found.of("layer")] == [LAYERS - 2, LAYERS - 1]
    assert [part.site for part in found.of("site")] == list(SITES[0])
    assert {(part.layer, part.site) for part in found.of("module")} == {
        (layer, site) for layer in (LAYERS - 2, LAYERS - 1) for site in SITES[0]
    }
    sizes = [sum(part.num_params for part in found.of(kind)) for kind in ("layer", "site", "module")]
    assert sizes == [sum(t.numel() for t in grafted.package.part("modules").values())] * 3


def test_a_layer_that_does_everything_is_missed_for_it_and_keeps_it_and_the_other_neither(grafted, rows):
    found = ablate(with_modules(grafted, only(LAYERS - 1)), rows)
    idle, busy = found.of("layer")
    assert idle.missed == pytest.approx(0.0, abs=1e-6) and idle.kept == pytest.approx(0.0, abs=1e-6)
    assert busy.missed == pytest.approx(found.gain, abs=1e-5) and busy.kept == pytest.approx(found.gain, abs=1e-5)


def test_what_it_comes_to_is_said(grafted, rows):
    found = ablate(grafted, rows)
    parts = [
        part.model_copy(update={"missed": 0.2 if part.layer == LAYERS - 1 else 0.0, "missed_error": 0.01, "kept": 0.1})
        for part in found.parts
    ]
    told = found.model_copy(update={"loss": 0.5, "loss_without": 0.7, "parts": tuple(parts)})
    said = " ".join(guidance(told))
    assert f"layers {LAYERS - 1}." in said and f"placement.boundary={LAYERS - 1}" in said and "50 %" in said
    assert "bring nothing" in " ".join(guidance(told.model_copy(update={"loss_without": 0.5})))
    shared = [part.model_copy(update={"missed": 0.0}) for part in told.parts]
    assert "share" in " ".join(guidance(told.model_copy(update={"parts": tuple(shared)})))
    assert [line[0] for line in lines(told)] == [str(LAYERS - 2), str(LAYERS - 1), "-", "-"]


def test_an_adapter_without_modules_is_refused(bert, rows):
    trained = train_adapter(easy_splits(), quick_config(bert, placement__strategy="head", train__words=False))
    with pytest.raises(PackageError) as caught:
        ablate(trained.adapter, rows)
    assert caught.value.code == "ablation.no_modules" and "head" in str(caught.value)


def test_rows_without_a_label_that_it_knows_are_refused(grafted, rows):
    with pytest.raises(RowsError) as caught:
        ablate(grafted, Rows(rows.texts))
    assert caught.value.code == "evaluate.no_labels"
    with pytest.raises(RowsError) as caught:
        ablate(grafted, Rows(rows.texts, ("other",) * len(rows)))
    assert caught.value.code == "ablation.no_known_label"


# --- as a prior


def test_what_is_kept_at_home_is_the_prior_of_the_same_base_alone(grafted, rows, own_home):
    digests = grafted.manifest.base.layer_digests
    assert prior_for(digests, SITES) is None
    found = paying(ablate(grafted, rows), LAYERS - 1)
    remember(found)
    prior = prior_for(digests, SITES)
    assert prior is not None and prior.num_ablations == 1 and sum(prior.shares.values()) == pytest.approx(1)
    assert prior.measured == {(part.layer, part.site) for part in found.of("module")}
    assert prior_for(("0" * 64, *digests[1:]), SITES) is None
    top, below = (sum(prior.shares[layer, site] for site in SITES[0]) for layer in (LAYERS - 1, LAYERS - 2))
    assert top > below == 0.0
    # Where nothing was measured the mean of what was is taken.
    assert prior.shares[0, SITES[0][0]] == pytest.approx((top + below) / 4)


def test_an_ablation_in_which_nothing_brought_anything_is_no_prior(grafted, rows):
    nothing = [part.model_copy(update={"missed": -0.1, "kept": -0.1}) for part in ablate(grafted, rows).parts]
    remember(ablate(grafted, rows).model_copy(update={"parts": tuple(nothing)}))
    assert prior_for(grafted.manifest.base.layer_digests, SITES) is None


def test_a_prior_is_checked_against_what_new_rows_say(grafted, rows):
    found = paying(ablate(grafted, rows), LAYERS - 1)
    remember(found)
    prior = prior_for(grafted.manifest.base.layer_digests, SITES)
    assert prior is not None
    same = {place: (share,) * len(RANKS) for place, share in prior.shares.items()}
    assert prior.agreement(same) == pytest.approx(1.0)
    assert prior.agreement({place: tuple(-gain for gain in gains) for place, gains in same.items()}) == pytest.approx(
        -1
    )
    assert prior.agreement({}) == 0.0


def test_a_prior_of_another_base_or_none_at_all_is_refused(grafted, rows, tmp_path):
    digests = grafted.manifest.base.layer_digests
    path = tmp_path / "ablation.json"
    path.write_text(paying(ablate(grafted, rows), LAYERS - 1).model_dump_json())
    assert prior_for(digests, SITES, path) is not None
    with pytest.raises(ConfigError) as caught:
        prior_for(("0" * 64, *digests[1:]), SITES, path)
    assert caught.value.code == "ablation.other_base"
    with pytest.raises(MissingError):
        Ablation.read(tmp_path / "nothing.json")
    path.write_text(json.dumps({"loss": 1}))
    with pytest.raises(ConfigError) as caught:
        Ablation.read(path)
    assert caught.value.code == "ablation.no_ablation"
