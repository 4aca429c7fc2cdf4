import json
import os
import pickle
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from tests.support.models import LAYERS, WIDTH, tiny
from tsugiki import drafts
from tsugiki.adapt import tensors as reading
from tsugiki.adapt.adapted import Graft
from tsugiki.adapt.forms.bottleneck import Bottleneck
from tsugiki.adapt.forms.low_rank import LowRank
from tsugiki.adapt.package import CARD, MANIFEST, TENSORS, Package, load_package, save_package
from tsugiki.adapt.package_checks import check_base
from tsugiki.base.model import Base, describe
from tsugiki.errors import ConfigError, MissingError, PackageError, SpaceError, TsugikiError
from tsugiki.manifest import BaseFacts, DataFacts, HeadFacts, Manifest, ModuleFacts, Placement
from tsugiki.report.card import card

LABELS = ("paid", "unpaid", "other")


class Words:
    """A tokenizer as far as its digest goes."""

    def __init__(self, *words):
        self.words = words

    def get_vocab(self):
        return {word: number for number, word in enumerate(self.words)}


def tiny_base(family="bert", *, head=False, seed=0, words=("a", "b")) -> Base:
    return describe(tiny(family, head=head, seed=seed), Words(*words), name=f"tiny-{family}")


@cache
def bert() -> Base:
    return tiny_base()


def manifest_for(base: Base, grafts=(), *, states=(), exit=LAYERS, **changes) -> Manifest:
    modules = tuple(ModuleFacts(layer=g.layer, site=g.site, form=g.form.model_dump()) for g in grafts)
    return Manifest(
        **{
            "name": "billing",
            "tsugiki_version": "0.1.0",
            "task": {"kind": "classify", "labels": list(LABELS)},
            "base": BaseFacts(
                name=base.name,
                architecture=type(base.model).__name__,
                num_layers=base.num_layers,
                width=base.width,
                layer_digests=base.layer_digests,
                tokenizer_digest=base.tokenizer_digest,
            ),
            "placement": Placement(boundary=min((g.layer for g in grafts), default=exit), exit=exit, modules=modules),
            "head": HeadFacts(states=states),
            "variant": "suffix",
            "training": {"seed": 0},
            "data": DataFacts(rows_digest="d", num_train=9, num_validation=3, class_counts={"paid": 9}),
            "metrics": {"accuracy": 0.5},
            **changes,
        }
    )


def tensors_for(base: Base, manifest: Manifest, seed=0) -> dict[str, torch.Tensor]:
    """Random modules and head, as after a training."""
    generator = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {}
    for graft in Package(manifest, {}, "").grafts:
        site = base.anatomy.site(graft.layer, graft.site)
        for name, shape in graft.form.shapes(site.in_width, site.out_width).items():
            shapes[f"modules.{graft.layer}.{graft.site}.{name}"] = shape
    if manifest.head.states:
        features = len(manifest.head.states) * base.width
        shapes |= {"head.weight": (len(LABELS), features), "head.bias": (len(LABELS),)}
    return {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}


GRAFTS = [Graft(2, "mlp.up", LowRank(rank=2)), Graft(3, "residual", Bottleneck(rank=2))]


@pytest.fixture
def folder(tmp_path):
    manifest = manifest_for(bert(), GRAFTS, states=(2, 4))
    save_package(tmp_path / "it", manifest, tensors_for(bert(), manifest), card)
    return tmp_path / "it"


def refused(folder: Path) -> TsugikiError:
    with pytest.raises(TsugikiError) as error:
        load_package(folder)
    assert len(str(error.value)) > 40
    return error.value


def rewrite(folder: Path, changes=None, tensors=None) -> None:
    """Forge a package whose two files agree with each other: what only an honest writer would refuse."""
    package = load_package(folder)
    kept = package.tensors if tensors is None else tensors
    digests = {name: reading.tensor_digest(tensor) for name, tensor in kept.items()}
    manifest = package.manifest.model_copy(update={"tensors": digests, **(changes or {})})
    (folder / MANIFEST).write_bytes(manifest.to_bytes())
    (folder / TENSORS).write_bytes(save(dict(kept), metadata={"manifest": manifest.digest()}))


# --- round trips -----------------------------------------------------------------------------------------------------


def same(a: Package, b: Package) -> bool:
    return (
        a.manifest == b.manifest
        and a.digest == b.digest
        and a.tensors.keys() == b.tensors.keys()
        and all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    modules=st.dictionaries(
        st.tuples(
            st.integers(0, LAYERS - 1),
            st.sampled_from(["attention.query", "mlp.up", "mlp.down", "residual"]),
        ),
        st.one_of(
            st.builds(LowRank, rank=st.integers(1, 4), alpha=st.floats(0.1, 32.0)),
            st.builds(Bottleneck, rank=st.integers(1, 4)),
        ),
        max_size=4,
    ),
    states=st.lists(st.integers(0, LAYERS), unique=True, max_size=3),
    name=st.text(st.characters(blacklist_categories=["Cs"]), max_size=12),
    statistics=st.dictionaries(
        st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=6),
        st.tuples(
            st.sampled_from([torch.float16, torch.int64, torch.float64]), st.lists(st.integers(0, 3), max_size=3)
        ),
        max_size=3,
    ),
    seed=st.integers(0, 99),
)
def test_what_is_loaded_equals_what_was_saved(tmp_path, modules, states, name, statistics, seed):
    grafts = [Graft(layer, site, form) for (layer, site), form in modules.items()]
    manifest = manifest_for(bert(), grafts, states=tuple(sorted(states)), name=name)
    tensors = tensors_for(bert(), manifest, seed)
    tensors |= {f"statistics.{n}": torch.ones(shape, dtype=dtype) for n, (dtype, shape) in statistics.items()}
    saved = save_package(tmp_path / "it", manifest, tensors, card)
    loaded = load_package(tmp_path / "it")
    assert same(saved, loaded)
    assert loaded.grafts == grafts
    check_base(loaded, bert())


def test_a_reader_and_words_travel_with_the_head(tmp_path):
    head = HeadFacts(states=(2, 4), reader={"kind": "readout", "queries": 4}, words={"kind": "tfidf"}, words_share=0.5)
    manifest = manifest_for(bert(), head=head)
    tensors = tensors_for(bert(), manifest)
    tensors |= {"reader.queries": torch.ones(2, 4, WIDTH), "lexicon.counts": torch.ones(5, dtype=torch.int64)}
    assert same(save_package(tmp_path / "it", manifest, tensors, card), load_package(tmp_path / "it"))


def test_a_saved_package_does_not_change_with_the_tensors_it_came_from(tmp_path):
    manifest = manifest_for(bert(), GRAFTS)
    tensors = tensors_for(bert(), manifest)
    saved = save_package(tmp_path / "it", manifest, tensors, card)
    for tensor in tensors.values():
        tensor.zero_()
    assert same(saved, load_package(tmp_path / "it"))


def test_the_same_package_has_the_same_bytes(tmp_path):
    manifest = manifest_for(bert(), GRAFTS, states=(4,))
    tensors = tensors_for(bert(), manifest)
    for name, order in (("a", tensors), ("b", dict(reversed(tensors.items())))):
        save_package(tmp_path / name, manifest, order, card)
    for file in (MANIFEST, TENSORS, CARD):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_part_is_named_without_itself(folder):
    package = load_package(folder)
    assert set(package.part("head")) == {"weight", "bias"}
    assert "2.mlp.up.down" in package.part("modules")


# --- flips -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    manifest = manifest_for(bert(), [Graft(3, "attention.query", LowRank(rank=1))], exit=4)
    facts = manifest.base.model_copy(update={"layer_digests": tuple("abcde"), "tokenizer_digest": "t"})
    manifest = manifest.model_copy(update={"base": facts})
    tensors = {f"modules.3.attention.query.{n}": torch.randn(s) for n, s in (("down", (4, 1)), ("up", (1, 4)))}
    save_package(tmp_path / "it", manifest, tensors, card)
    return tmp_path / "it"


@pytest.mark.parametrize("file", [MANIFEST, TENSORS])
def test_a_flip_at_any_position_is_refused(small, file):
    whole = (small / file).read_bytes()
    for position in range(len(whole)):
        for bit in (1, 4, 32):
            flipped = bytearray(whole)
            flipped[position] ^= bit
            (small / file).write_bytes(flipped)
            with pytest.raises(PackageError):
                load_package(small)
    (small / file).write_bytes(whole)
    load_package(small)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), file=st.sampled_from([MANIFEST, TENSORS]))
def test_every_other_byte_is_refused(folder, data, file):
    whole = (folder / file).read_bytes()
    position = data.draw(st.integers(0, len(whole) - 1))
    value = data.draw(st.sampled_from(b"\t\n\r 0") | st.integers(0, 255))
    try:
        (folder / file).write_bytes(whole[:position] + bytes([value]) + whole[position + 1 :])
        if value != whole[position]:
            refused(folder)
    finally:
        (folder / file).write_bytes(whole)


def test_padding_of_the_header_may_only_be_spaces(folder):
    whole = (folder / TENSORS).read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    (folder / TENSORS).write_bytes(struct.pack("<Q", end) + whole[8:end] + b" \n      " + whole[end:])
    assert refused(folder).code == "package.damaged"


@pytest.mark.parametrize("file", [MANIFEST, TENSORS])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9])
def test_a_cut_file_is_refused(folder, file, share):
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[: int(len(whole) * share)])
    assert isinstance(refused(folder), PackageError)


# --- what else is refused --------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_there_is_missing(tmp_path):
    error = refused(tmp_path / "nowhere")
    assert isinstance(error, MissingError)
    assert error.code == "package.no_folder"


@pytest.mark.parametrize(("file", "code"), [(MANIFEST, "package.no_manifest"), (TENSORS, "package.no_tensors")])
def test_a_file_that_is_not_there_is_missing(folder, file, code):
    (folder / file).unlink()
    error = refused(folder)
    assert isinstance(error, MissingError)
    assert error.code == code


@pytest.mark.parametrize("name", ["adapter.bin", "adapter.pt", "adapter.pkl"])
def test_a_pickle_in_place_of_the_tensors_is_refused_unopened(folder, name):
    (folder / TENSORS).unlink()
    (folder / name).write_bytes(pickle.dumps(Bomb()))
    error = refused(folder)
    assert error.code == "package.pickle"
    assert name in str(error)


def test_a_pickle_under_the_name_of_the_tensors_is_refused_unopened(folder):
    (folder / TENSORS).write_bytes(pickle.dumps(Bomb()))
    assert refused(folder).code == "package.header"


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("a pickle was opened",)


@pytest.mark.parametrize("length", [reading.MAX_HEADER_BYTES + 1, 2**63, 2**64 - 1])
def test_an_over_long_header_is_refused_before_it_is_parsed(folder, length, monkeypatch):
    whole = (folder / TENSORS).read_bytes()
    (folder / TENSORS).write_bytes(struct.pack("<Q", length) + whole[8:])
    monkeypatch.setattr(reading, "load", lambda _: pytest.fail("parsed"))
    assert refused(folder).code == "package.header"


def test_a_header_over_the_limit_is_refused_even_in_a_file_that_holds_it(folder, monkeypatch):
    monkeypatch.setattr(reading, "MAX_HEADER_BYTES", 100)
    assert refused(folder).code == "package.header"


@pytest.mark.parametrize("depth", [100, 100_000])
def test_a_deeply_nested_header_is_refused(folder, depth):
    header = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
    (folder / TENSORS).write_bytes(struct.pack("<Q", len(header)) + header)
    assert refused(folder).code == "package.damaged"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"accuracy":0.5', b'"accuracy":NaN'),
        (b'"accuracy":0.5', b'"accuracy":1e999'),
        (b'"seed":0', b'"seed":"\\ud800"'),
        (b'"seed":0', b'"seed":' + b"9" * 5_000),
        (b'"seed":0', b'"seed":' + b"[" * 100_000 + b"]" * 100_000),
        (b'"billing"', b'"\xff"'),
    ],
)
def test_a_manifest_that_is_hardly_json_is_refused(folder, old, new):
    content = (folder / MANIFEST).read_bytes()
    assert old in content
    (folder / MANIFEST).write_bytes(content.replace(old, new))
    assert refused(folder).code == "package.not_json"


def test_two_halves_of_different_packages_are_refused(folder, tmp_path):
    manifest = manifest_for(bert(), GRAFTS, states=(2, 4), name="other")
    save_package(tmp_path / "other", manifest, tensors_for(bert(), manifest), card)
    (folder / TENSORS).write_bytes((tmp_path / "other" / TENSORS).read_bytes())
    assert refused(folder).code == "package.not_together"


def test_a_changed_tensor_is_refused(folder):
    package = load_package(folder)
    package.tensors["head.bias"][0] += 1
    (folder / TENSORS).write_bytes(save(package.tensors, metadata={"manifest": package.digest}))
    error = refused(folder)
    assert error.code == "package.digest"
    assert "head.bias" in str(error)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda t: t | {"evil": torch.zeros(1)}, "package.unknown_tensor"),
        (lambda t: t | {"lexicon.weight": torch.zeros(1)}, "package.unknown_tensor"),
        (lambda t: t | {"modules.1.mlp.up.down": torch.zeros(1)}, "package.unknown_tensor"),
        (lambda t: {n: x for n, x in t.items() if n != "head.bias"}, "package.missing_tensor"),
        (lambda t: {n: x for n, x in t.items() if not n.endswith(".up")}, "package.missing_tensor"),
        (lambda t: t | {"head.bias": torch.zeros(4)}, "package.shape"),
        (lambda t: t | {"head.weight": torch.zeros(3, WIDTH)}, "package.shape"),
        (lambda t: t | {"head.bias": torch.zeros(3, dtype=torch.float64)}, "package.dtype"),
        (lambda t: t | {"head.bias": torch.zeros(3, dtype=torch.int64)}, "package.dtype"),
        (lambda t: t | {"statistics.mean": torch.zeros(3).to(torch.complex64)}, "package.dtype"),
        (lambda t: t | {"head.bias": torch.tensor([0.0, float("nan"), 0.0])}, "package.not_finite"),
        (lambda t: t | {"statistics.mean": torch.tensor([float("-inf")])}, "package.not_finite"),
    ],
)
def test_tensors_that_the_manifest_does_not_call_for_are_refused_though_their_digests_fit(folder, change, code):
    rewrite(folder, tensors=change(load_package(folder).tensors))
    assert refused(folder).code == code


def place(**changes):
    modules = tuple(ModuleFacts(layer=g.layer, site=g.site, form=g.form.model_dump()) for g in GRAFTS)
    return {"placement": Placement(**{"boundary": 2, "exit": 4, "modules": modules, **changes})}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        (place(boundary=3), "package.module_outside"),
        (place(exit=3), "package.module_outside"),
        (place(exit=5), "package.few_digests"),
        (place(modules=place()["placement"].modules * 2), "package.twice"),
        (place(modules=(ModuleFacts(layer=2, site="mlp.up", form={"kind": "os"}),)), "package.kind"),
        (place(modules=(ModuleFacts(layer=2, site="mlp.up", form={"kind": "low_rank", "rank": -1}),)), "package.kind"),
        ({"head": HeadFacts(states=(2, 5))}, "package.state_outside"),
        ({"head": HeadFacts(states=(2, 4), reader={"kind": "../mean"})}, "package.kind"),
        ({"head": HeadFacts(states=(2, 4), reader={"kind": "readout"})}, "package.missing_tensor"),
        ({"task": {"labels": ["one"]}}, "package.shape"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(folder, changes, code):
    rewrite(folder, changes)
    assert refused(folder).code == code


# --- the base --------------------------------------------------------------------------------------------------------


def cut(base: Base, exit: int) -> Base:
    """The base as it is when only its lower layers are loaded."""
    model: Any = tiny("bert")
    del model.encoder.layer[exit:]
    model.config.num_hidden_layers = exit
    return describe(model, base.tokenizer, name=base.name, num_layers=base.num_layers)


def test_a_package_fits_the_base_it_was_made_for(folder):
    check_base(load_package(folder), bert())


def test_a_base_with_a_vocabulary_head_is_the_same_base(tmp_path):
    base, with_head = tiny_base("llama"), tiny_base("llama", head=True)
    manifest = manifest_for(base, [Graft(3, "mlp.down", LowRank(rank=1))])
    check_base(save_package(tmp_path / "it", manifest, tensors_for(base, manifest), card), with_head)


@pytest.mark.parametrize("made_for_whole", [True, False])
def test_a_base_loaded_up_to_the_exit_is_enough(tmp_path, made_for_whole):
    whole, lower = bert(), cut(bert(), 3)
    maker, user = (whole, lower) if made_for_whole else (lower, whole)
    manifest = manifest_for(maker, [Graft(2, "mlp.up", LowRank(rank=1))], exit=3)
    check_base(save_package(tmp_path / "it", manifest, tensors_for(maker, manifest), card), user)


def test_a_base_with_too_few_layers_is_refused(folder):
    with pytest.raises(PackageError) as error:
        check_base(load_package(folder), cut(bert(), 3))
    assert error.value.code == "package.few_layers"


def changed_layer() -> Base:
    model: Any = tiny("bert")
    model.encoder.layer[1].output.dense.weight.data[0, 0] += 1.0
    return describe(model, bert().tokenizer, name="mended")


@pytest.mark.parametrize(
    ("other", "code", "word"),
    [
        (lambda: tiny_base(seed=1), "package.other_base", "embeddings"),
        (lambda: tiny_base("roberta"), "package.other_base", "tiny-roberta"),
        (changed_layer, "package.other_base", "layers.1"),
        (lambda: tiny_base(words=("a", "c")), "package.other_tokenizer", "tiny-bert"),
    ],
)
def test_another_base_is_refused_and_both_are_named(folder, other, code, word):
    with pytest.raises(PackageError) as error:
        check_base(load_package(folder), other())
    assert error.value.code == code
    assert "tiny-bert" in str(error.value)
    assert word in str(error.value)


def test_a_module_of_another_shape_than_its_site_is_refused(folder):
    package = load_package(folder)
    rewrite(folder, tensors=package.tensors | {"modules.2.mlp.up.down": torch.zeros(7, 2)})
    with pytest.raises(PackageError) as error:
        check_base(load_package(folder), bert())
    assert error.value.code == "package.shape"


def test_a_module_at_a_site_that_is_not_there_is_refused(folder):
    package = load_package(folder)
    module = ModuleFacts(layer=2, site="mlp.gate", form=GRAFTS[0].form.model_dump())
    tensors = {name.replace("2.mlp.up", "2.mlp.gate"): tensor for name, tensor in package.tensors.items()}
    rewrite(folder, place(modules=(module, package.manifest.placement.modules[1])), tensors)
    with pytest.raises(PackageError) as error:
        check_base(load_package(folder), bert())
    assert error.value.code == "package.no_site"


def test_a_package_that_only_reads_words_fits_any_base(tmp_path):
    head = HeadFacts(words={"kind": "tfidf"}, words_share=1.0)
    manifest = manifest_for(bert(), exit=0, head=head)
    package = save_package(tmp_path / "it", manifest, {"lexicon.weight": torch.zeros(3, 5)}, card)
    check_base(package, tiny_base("llama"))


# --- writing ---------------------------------------------------------------------------------------------------------


def listing(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_package_replaces_an_older_one_and_leaves_nothing_beside_it(folder):
    manifest = manifest_for(bert(), GRAFTS, name="newer")
    save_package(folder, manifest, tensors_for(bert(), manifest), card)
    assert load_package(folder).manifest.name == "newer"
    assert listing(folder) == [CARD, MANIFEST, TENSORS]
    assert listing(folder.parent) == ["it"]


def test_an_empty_folder_is_filled(tmp_path):
    manifest = manifest_for(bert(), GRAFTS)
    (tmp_path / "it").mkdir()
    save_package(tmp_path / "it", manifest, tensors_for(bert(), manifest), card)
    load_package(tmp_path / "it")


@pytest.mark.parametrize("files", [["notes.txt"], ["README.md"], [MANIFEST, TENSORS, "notes.txt"]])
def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path, files):
    for name in files:
        (tmp_path / name).write_text("mine")
    manifest = manifest_for(bert(), GRAFTS)
    with pytest.raises(PackageError) as error:
        save_package(tmp_path, manifest, tensors_for(bert(), manifest), card)
    assert error.value.code == "package.occupied"
    assert files[-1] in str(error.value)
    assert listing(tmp_path) == sorted(files)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(("fault", "raised"), [(OSError(28, "full"), SpaceError), (OSError(13, "denied"), ConfigError)])
@pytest.mark.parametrize("at", ["_write", "_exchange"])
def test_a_failure_leaves_the_folder_as_it_was(tmp_path, monkeypatch, before, fault, raised, at):
    manifest = manifest_for(bert(), GRAFTS)
    tensors = tensors_for(bert(), manifest)
    if before:
        save_package(tmp_path / "it", manifest, tensors, card)

    def fail(*_):
        raise fault

    monkeypatch.setattr(drafts, at, fail)
    with pytest.raises(raised):
        save_package(tmp_path / "it", manifest.model_copy(update={"name": "newer"}), tensors, card)
    assert listing(tmp_path) == (["it"] if before else [])
    if before:
        assert load_package(tmp_path / "it").manifest.name == "billing"


def test_an_older_package_comes_back_when_the_last_rename_fails(folder, monkeypatch):
    rename = Path.rename

    def failing(self, target):
        if self.suffix == ".part":
            raise OSError(5, "broken")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    monkeypatch.setattr(drafts, "_swap", lambda *_: False)
    manifest = manifest_for(bert(), GRAFTS, name="newer")
    with pytest.raises(ConfigError):
        save_package(folder, manifest, tensors_for(bert(), manifest), card)
    assert load_package(folder).manifest.name == "billing"
    assert listing(folder.parent) == ["it"]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_metric_that_is_not_a_number_is_refused_before_anything_is_written(tmp_path, number):
    manifest = manifest_for(bert(), GRAFTS, metrics={"accuracy": number})
    with pytest.raises(PackageError) as error:
        save_package(tmp_path / "it", manifest, tensors_for(bert(), manifest), card)
    assert error.value.code == "package.numbers"
    assert listing(tmp_path) == []


def test_tensors_that_went_astray_are_refused_before_anything_is_written(tmp_path):
    manifest = manifest_for(bert(), GRAFTS)
    tensors = tensors_for(bert(), manifest)
    tensors["modules.2.mlp.up.up"][0, 0] = float("nan")
    with pytest.raises(PackageError) as error:
        save_package(tmp_path / "it", manifest, tensors, card)
    assert error.value.code == "package.not_finite"
    assert listing(tmp_path) == []


# --- the card --------------------------------------------------------------------------------------------------------


def test_the_card_says_digest_base_scores_and_terms(folder):
    manifest = load_package(folder).manifest
    text = card(manifest.model_copy(update={"usage_terms": "in house only", "licence": "Apache-2.0"}))
    for fact in ("tiny-bert", bert().digest, "accuracy", "0.5", "paid", "in house only", "Apache-2.0", "mlp.up"):
        assert fact in text
    assert manifest.digest() in (folder / CARD).read_text()


def test_the_card_shows_every_candidate_of_the_race():
    candidates = ({"name": "probe", "score": 0.61}, {"name": "suffix 2/4", "score": 0.72, "train_s": 3.5})
    text = card(manifest_for(bert(), GRAFTS, candidates=candidates))
    for cell in ("| probe | 0.61 |", "| suffix 2/4 | 0.72 | 3.5 |"):
        assert cell in text


def test_hugging_face_reads_the_front_matter():
    from huggingface_hub import ModelCard

    manifest = manifest_for(bert(), GRAFTS, licence="GPL-3.0-only")
    data = ModelCard(card(manifest)).data.to_dict()
    assert data["base_model"] == "tiny-bert"
    assert data["library_name"] == "tsugiki"
    assert data["license"] == "other"
    assert data["license_name"] == "GPL-3.0-only"
    assert "license" not in ModelCard(card(manifest_for(bert(), GRAFTS))).data.to_dict()


def test_names_from_outside_are_only_text_in_the_card():
    from huggingface_hub import ModelCard

    evil = 'x"\n---\ntags: [evil]\n# <script>alert(1)</script> | [a](http://b) `'
    manifest = manifest_for(bert(), name=evil, task={"kind": evil, "labels": [evil]}, variant=evil)
    text = card(manifest.model_copy(update={"base": manifest.base.model_copy(update={"name": evil})}))
    assert ModelCard(text).data.to_dict()["base_model"] == evil
    assert "<script>" not in text
    assert all(not line.startswith(("# <", "tags: [evil]")) for line in text.splitlines())
    assert "](http" not in text.replace("\\]", "").partition("## Use")[0].partition("---\n\n")[2]


def test_the_python_on_the_card_runs(folder, monkeypatch):
    code = (folder / CARD).read_text().partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(folder.parent)
    loaded: list[str] = []

    class Answers:
        def predict(self, texts):
            return [f"an answer to {text}" for text in texts]

    def load(name):
        loaded.append(name)
        load_package(Path(name))
        return Answers()

    monkeypatch.setattr("tsugiki.load", load, raising=False)
    names: dict[str, Any] = {}
    exec(code.replace("FOLDER", folder.name), names)
    assert loaded == [folder.name]
    assert names["answers"] == ["an answer to a text"]


def test_the_card_needs_no_torch():
    code = "import sys, tsugiki.report.card; assert not {'torch', 'transformers'} & set(sys.modules)"
    env = {**os.environ, "PYTHONPATH": str(Path(drafts.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)


def test_a_manifest_in_the_folder_is_plain_json(folder):
    assert json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["name"] == "billing"
