import logging
import random
import threading
import time
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.bases import tokenizer
from tests.support.models import LAYERS, tiny
from tsugiki.adapt.reader import mean_pool
from tsugiki.base import prefix_cache
from tsugiki.base.model import Base, describe
from tsugiki.base.prefix_cache import CachedRows, PrefixCache
from tsugiki.base.shelf import Shelf
from tsugiki.base.suffix import run_states
from tsugiki.base.tokens import encode
from tsugiki.base.upkeep import CacheSettings, cache_root
from tsugiki.errors import SpaceError

WORDS = ("oil", "leak", "pump", "motor", "noise", "belt", "stuck", "valve", "loud", "hot")
OFF = CacheSettings(enabled=False)


def base_of(family: str = "bert", *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Base:
    return describe(tiny(family, seed=seed).to(dtype), tokenizer(), name=f"tiny-{family}")


@pytest.fixture(scope="module")
def base() -> Base:
    return base_of()


def texts_of(count: int, *, seed: int = 0, longest: int = 12) -> list[str]:
    """Texts that are all different."""
    chance = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found[" ".join(chance.choices(WORDS, k=chance.randint(1, longest)))] = None
    return list(found)


class Watch:
    """Counts the rows that go through each layer of a base."""

    def __init__(self, base: Base) -> None:
        self.rows: Counter[int] = Counter()
        layers = base.model.get_submodule(base.anatomy.layers_path).children()
        self.hooks = [layer.register_forward_pre_hook(self._at(i)) for i, layer in enumerate(layers)]

    def _at(self, index: int) -> Any:
        return lambda _, args: self.rows.update({index: args[0].shape[0]})

    def taken(self) -> list[int]:
        """Rows through each layer since the last call."""
        counts = [self.rows[i] for i in range(LAYERS)]
        self.rows.clear()
        return counts


@pytest.fixture
def watch(base):
    watching = Watch(base)
    yield watching
    for hook in watching.hooks:
        hook.remove()


def direct(base: Base, texts: list[str], row: int, states: range = range(LAYERS + 1)) -> dict[int, Tensor]:
    """States of one row, run alone."""
    ids = encode(base, [texts[row]], 64)
    with torch.no_grad():
        return run_states(base.model, base.anatomy, torch.tensor(ids), None, states)


def assert_near(found: Tensor, wanted: Tensor) -> None:
    """The same batch gives the same bits; in a batch of another size a product may round otherwise in the last ones."""
    assert found.dtype is wanted.dtype
    tolerance = 1e-5 if found.dtype is torch.float32 else 0.1
    torch.testing.assert_close(found.float(), wanted.float(), rtol=tolerance, atol=tolerance / 10)


# --- how much is computed ---------------------------------------------------------------------------------------------


def test_only_rows_that_are_new_are_computed(base, watch):
    texts = texts_of(500)
    first = PrefixCache(base, 64).rows(texts[:480], [2], LAYERS)
    assert (first.computed, watch.taken()) == (480, [480] * LAYERS)

    mixed = texts.copy()
    random.Random(1).shuffle(mixed)
    second = PrefixCache(base, 64).rows(mixed, [2], LAYERS)
    assert (second.computed, watch.taken()) == (20, [20] * LAYERS)

    third = PrefixCache(base, 64).rows(texts, [2], LAYERS)
    assert (third.computed, watch.taken()) == (0, [0] * LAYERS)
    order = [mixed.index(text) for text in texts]
    assert torch.equal(third.pooled, second.pooled[order])
    assert torch.equal(third.state(2, range(100)), second.state(2, order[:100])[:, : max(third.lengths[:100])])


def test_equal_texts_are_computed_once(base, watch):
    texts = ["oil leak", "pump", "oil leak", "oil leak"]
    found = PrefixCache(base, 64).rows(texts, [1], LAYERS)
    assert (found.computed, watch.taken()) == (2, [2] * LAYERS)
    assert len(found) == 4 and torch.equal(found.pooled[0], found.pooled[3])
    assert torch.equal(found.state(1, [2])[0], found.state(1, [0])[0])
    assert not torch.equal(found.pooled[0], found.pooled[1])


def test_a_higher_state_is_run_from_the_nearest_lower_one_that_is_kept(base, watch):
    texts = texts_of(30)
    cache = PrefixCache(base, 64)
    cache.rows(texts, [1, 2], LAYERS)
    assert watch.taken() == [30] * LAYERS
    found = cache.rows(texts, [3], LAYERS)
    assert (found.computed, watch.taken()) == (30, [0, 0, 30, 0])
    for row in range(30):
        assert_near(found.state(3, [row]), direct(base, texts, row)[3])


def test_a_lower_state_is_run_from_the_ground_and_no_higher_than_it_must_be(base, watch):
    texts = texts_of(30)
    cache = PrefixCache(base, 64)
    cache.rows(texts, [3], LAYERS)
    watch.taken()
    assert cache.rows(texts, [2], LAYERS).computed == 30
    assert watch.taken() == [30, 30, 0, 0]


def test_a_lower_state_that_lacks_some_of_the_rows_is_passed_over(base, watch):
    texts = texts_of(30)
    cache = PrefixCache(base, 64)
    cache.rows(texts, [1], LAYERS)
    cache.rows(texts[:10], [2], LAYERS)
    watch.taken()
    found = cache.rows(texts, [3], LAYERS)
    assert watch.taken() == [0, 30, 30, 0]
    assert_near(found.state(3, [29]), direct(base, texts, 29)[3])


def test_no_row_is_kept_twice(base):
    texts = texts_of(30)
    cache = PrefixCache(base, 64)
    cache.rows(texts[:20], [2], 1)
    cache.rows(texts[10:], [3], 1)
    lengths = cache.rows(texts, [2, 3], LAYERS).lengths
    for state in (2, 3):
        kept = sum(path.stat().st_size for path in cache_root().rglob(f"state-{state:03d}*/*.bin"))
        assert kept == cache.num_bytes(lengths, 1)


def test_means_need_no_token_states_and_no_layer_above_the_highest(base, watch):
    found = PrefixCache(base, 64).rows(texts_of(5), [], 2)
    assert found.stored == {} and found.pooled.shape == (5, 3, 32)
    assert watch.taken() == [5, 5, 0, 0]


def test_an_adapted_layer_above_the_means_may_be_asked_for(base):
    texts = texts_of(5)
    found = PrefixCache(base, 64).rows(texts, [3], 1)
    assert_near(found.state(3, [4]), direct(base, texts, 4)[3])
    assert found.pooled.shape == (5, 2, 32)


def test_work_goes_on_where_it_was_stopped(base, watch, monkeypatch):
    texts = texts_of(200)
    monkeypatch.setattr(prefix_cache, "_SEGMENT_BYTES", 30_000)
    run, calls = PrefixCache._run, []

    def stop(self: Any, *args: Any) -> Any:
        calls.append(args)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return run(self, *args)

    monkeypatch.setattr(PrefixCache, "_run", stop)
    with pytest.raises(KeyboardInterrupt):
        PrefixCache(base, 64).rows(texts, [2], LAYERS)
    monkeypatch.setattr(PrefixCache, "_run", run)
    assert not list(cache_root().rglob("*.part"))
    begun = watch.taken()[0]

    found = PrefixCache(base, 64).rows(texts, [2], LAYERS)
    assert 0 < 200 - found.computed <= begun
    assert watch.taken() == [found.computed] * LAYERS
    for row in (0, 99, 199):
        assert_near(found.state(2, [row]), direct(base, texts, row)[2])


# --- what is computed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["bert", "deberta-v2", "gemma3_text", "gpt2"])
def test_states_are_bit_for_bit_those_of_a_direct_run_of_rows_of_the_same_length(family, dtype):
    base = base_of(family, dtype=dtype)
    texts = [*texts_of(6), "oil pump", "belt noise"]
    for found in (PrefixCache(base, 64).rows(texts, range(LAYERS + 1), LAYERS) for _ in range(2)):
        for row in (0, 4, 7):
            wanted = direct(base, texts, row)
            for s in range(LAYERS + 1):
                assert_near(found.state(s, [row]), wanted[s])
    alike = [row for row, length in enumerate(found.lengths) if length == found.lengths[-1]]
    assert len(alike) > 1
    together = torch.tensor([found.token_ids[row] for row in alike])
    with torch.inference_mode():
        wanted = run_states(base.model, base.anatomy, together, None, range(LAYERS + 1))
    for s in range(LAYERS + 1):
        assert torch.equal(found.state(s, alike), wanted[s])


def test_states_do_not_depend_on_the_rows_that_came_along(base, tmp_path, monkeypatch):
    texts = texts_of(60)
    alone = PrefixCache(base, 64).rows(texts[:1], [2], LAYERS)
    monkeypatch.setenv("TSUGIKI_HOME", str(tmp_path / "another"))
    for company in (texts, [*texts[30:], texts[0]], [texts[0], "oil " * 50]):
        found = PrefixCache(base, 64).rows(company, [2], LAYERS)
        row = company.index(texts[0])
        torch.testing.assert_close(found.state(2, [row]), alone.state(2, [0]), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(found.pooled[row], alone.pooled[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("settings", [CacheSettings(), OFF])
def test_means_are_those_of_the_tokens(base, settings):
    texts = texts_of(40)
    found = PrefixCache(base, 64, settings).rows(texts, [0, 2, 4], LAYERS)
    assert found.pooled.dtype is torch.float32 and found.pooled.shape == (40, LAYERS + 1, 32)
    _, mask = found.batch(range(40))
    for s in range(LAYERS + 1):
        wanted = mean_pool(found.state(s, range(40)), mask)
        torch.testing.assert_close(found.pooled[:, s], wanted, rtol=1e-5, atol=1e-6)


def test_a_batch_of_states_fits_its_ids_and_its_mask(base):
    texts = texts_of(20)
    found = PrefixCache(base, 64).rows(texts, [2], LAYERS)
    rows = [7, 3, 3, 11]
    ids, mask = found.batch(rows)
    state = found.state(2, rows)
    assert state.shape == (*ids.shape, 32) and mask.sum(1).tolist() == [found.lengths[i] for i in rows]
    assert not state[mask == 0].any()
    assert ids[0, : found.lengths[7]].tolist() == found.token_ids[7]
    with torch.no_grad():
        wanted = run_states(base.model, base.anatomy, ids, mask, [4], boundary=2, state=state)[4]
        direct_run = run_states(base.model, base.anatomy, ids, mask, [4])[4]
    torch.testing.assert_close(wanted[mask == 1], direct_run[mask == 1], rtol=1e-5, atol=1e-5)


def test_no_rows_are_no_rows(base):
    for settings in (CacheSettings(), OFF):
        found = PrefixCache(base, 64, settings).rows([], [2], LAYERS)
        assert (len(found), found.computed, found.lengths) == (0, 0, [])
        assert found.pooled.shape == (0, LAYERS + 1, 32) and found.pooled.dtype is torch.float32


def test_empty_texts_and_halves_of_characters_have_states_too(base):
    found = PrefixCache(base, 64).rows(["", "oil", " ", "\ud83d"], [2], LAYERS)
    assert found.lengths == [2, 3, 2, 2]
    assert found.pooled.isfinite().all() and found.state(2, [0, 3]).isfinite().all()


def test_a_text_of_a_million_characters_is_quick(base):
    cache = PrefixCache(base, 64)
    cache.rows(["oil"], [2], LAYERS)
    began = time.perf_counter()
    found = cache.rows(["oil leak " * 111_112], [2], LAYERS)
    assert time.perf_counter() - began < 2.0
    assert found.lengths == [64]


def test_states_carry_no_gradient_and_can_be_trained_on(base):
    cache = PrefixCache(base, 64)
    for settings in (CacheSettings(), OFF):
        cache = PrefixCache(base, 64, settings)
        state = cache.rows(texts_of(3), [2], LAYERS).state(2, [0, 1])
        weight = torch.ones(32, requires_grad=True)
        (state * weight).sum().backward()
        assert not state.requires_grad and weight.grad is not None and weight.grad.any()


# --- what is shared, and what never -----------------------------------------------------------------------------------


def computed_after(first: Base, second: Base, lengths: tuple[int, int] = (64, 64), texts: Any = None) -> int:
    """Rows that a second cache computes of the ten that a first one has."""
    one, other = texts or (texts_of(10), texts_of(10))
    assert PrefixCache(first, lengths[0]).rows(one, [2], 3).computed == 10
    return PrefixCache(second, lengths[1]).rows(other, [2], 3).computed


def with_weight_changed(layer: int) -> Base:
    model: Any = tiny("bert")
    model.encoder.layer[layer].output.dense.weight.data[0, 0] += 1.0
    return describe(model, tokenizer(), name="tiny-bert")


def with_setting_changed() -> Base:
    model: Any = tiny("llama")
    model.config.rope_parameters = {"rope_theta": 5e5, "rope_type": "default"}
    return describe(model, tokenizer(), name="tiny-llama")


def with_another_tokenizer() -> Base:
    from tokenizers import normalizers

    other: Any = tokenizer()
    other.backend_tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    return describe(tiny("bert"), other, name="tiny-bert")


@pytest.mark.parametrize(
    ("first", "second", "lengths"),
    [
        (base_of, lambda: base_of(seed=1), (64, 64)),
        (base_of, lambda: base_of("roberta"), (64, 64)),
        (base_of, lambda: base_of(dtype=torch.bfloat16), (64, 64)),
        (base_of, lambda: with_weight_changed(1), (64, 64)),
        (lambda: base_of("llama"), with_setting_changed, (64, 64)),
        (base_of, with_another_tokenizer, (64, 64)),
        (base_of, base_of, (64, 63)),
    ],
    ids=["weights", "family", "precision", "one weight", "settings", "tokenizer", "length limit"],
)
def test_what_may_give_other_states_never_shares(first, second, lengths):
    assert computed_after(first(), second(), lengths) == 10


@pytest.mark.parametrize(("states", "top"), [([2], 0), ([], 2)], ids=["tokens", "means"])
def test_every_layer_below_a_state_counts_for_it_and_none_above(base, states, top):
    assert PrefixCache(base, 64).rows(texts_of(10), states, top).computed == 10
    for layer, computed in ((0, 10), (1, 10), (2, 0), (3, 0)):
        assert PrefixCache(with_weight_changed(layer), 64).rows(texts_of(10), states, top).computed == computed


def test_other_texts_never_share():
    assert computed_after(base_of(), base_of(), texts=(texts_of(10), [f"{text} " for text in texts_of(10)])) == 10


def test_an_equal_base_shares_and_so_does_one_of_other_upper_layers():
    assert computed_after(base_of(), base_of()) == 0
    assert PrefixCache(with_weight_changed(3), 64).rows(texts_of(10), [2], 3).computed == 0


def test_a_base_of_which_only_the_lower_layers_are_loaded_shares_with_the_whole():
    model: Any = tiny("bert")
    del model.encoder.layer[3:]
    model.config.num_hidden_layers = 3
    assert computed_after(base_of(), describe(model, tokenizer(), name="lower")) == 0


def test_two_caches_at_once_see_what_the_other_has_kept(base, watch):
    texts = texts_of(40)
    one, other = PrefixCache(base, 64), PrefixCache(base, 64)
    one.rows(texts[:20], [2], LAYERS)
    assert other.rows(texts[10:], [2], LAYERS).computed == 20
    assert one.rows(texts, [2], LAYERS).computed == 0
    assert watch.taken() == [40] * LAYERS


def test_two_threads_at_once_get_the_same_states(base):
    texts = texts_of(80)
    found: list[CachedRows] = []

    def work(own: Base) -> None:
        found.append(PrefixCache(own, 64).rows(texts, [2], LAYERS))

    threads = [threading.Thread(target=work, args=[base_of()]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert torch.equal(found[0].pooled, found[1].pooled)
    assert torch.equal(found[0].state(2, range(80)), found[1].state(2, range(80)))
    assert PrefixCache(base, 64).rows(texts, [2], LAYERS).computed == 0


# --- without a shelf --------------------------------------------------------------------------------------------------


def same_numbers(found: CachedRows, wanted: CachedRows) -> None:
    assert found.token_ids == wanted.token_ids
    torch.testing.assert_close(found.pooled, wanted.pooled, rtol=1e-6, atol=1e-6)
    rows = range(len(found))
    _, mask = found.batch(rows)
    for s in range(LAYERS + 1):
        one, other = found.state(s, rows), wanted.state(s, rows)
        assert one.shape == other.shape and one.dtype is other.dtype
        torch.testing.assert_close(one[mask == 1], other[mask == 1], rtol=1e-5, atol=1e-5)


def test_with_the_cache_off_the_numbers_are_the_same_and_nothing_is_kept(base):
    texts = texts_of(30)
    found = PrefixCache(base, 64, OFF).rows(texts, [2], LAYERS)
    assert [*found.stored] == [2] and found.computed == 30
    assert not cache_root().exists()
    same_numbers(found, PrefixCache(base, 64).rows(texts, [2], LAYERS))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_states_in_memory_are_those_of_the_shelf_bit_for_bit(dtype):
    base, texts = base_of(dtype=dtype), texts_of(30)
    found = PrefixCache(base, 64, OFF).rows(texts, [0, 3], LAYERS)
    wanted = PrefixCache(base, 64).rows(texts, [0, 3], LAYERS)
    for state in (0, 3):
        assert torch.equal(found.state(state, range(30)), wanted.state(state, range(30)))


def test_states_that_memory_has_no_room_for_are_computed_when_asked_for(base, monkeypatch):
    monkeypatch.setattr(prefix_cache, "_MEMORY_SHARE", 0.0)
    texts = texts_of(30)
    found = PrefixCache(base, 64, OFF).rows(texts, [2], LAYERS)
    assert found.stored == {}
    same_numbers(found, PrefixCache(base, 64).rows(texts, [2], LAYERS))


@pytest.mark.parametrize("when", ["at once", "while writing", "no permission"])
def test_without_room_the_numbers_are_the_same_and_a_warning_says_why(base, monkeypatch, caplog, when):
    texts = texts_of(30)
    settings = CacheSettings()
    if when == "at once":
        settings = CacheSettings(quota_bytes=1000)
    elif when == "while writing":
        monkeypatch.setattr(prefix_cache, "_SEGMENT_BYTES", 5_000)
        settings = CacheSettings(quota_bytes=40_000)
    else:
        monkeypatch.setattr(Shelf, "writer", lambda *_: (_ for _ in ()).throw(PermissionError(13, "", "shelf")))

    with caplog.at_level(logging.WARNING, "tsugiki"):
        found = PrefixCache(base, 64, settings).rows(texts, [2], LAYERS)
    (record,) = caplog.records
    assert "not kept" in record.message
    assert ("shelf: Permission denied" if when == "no permission" else "quota") in record.message
    assert [*found.stored] == [2] and found.computed == 30
    assert bool(list(cache_root().rglob("*.idx"))) is (when == "while writing")
    monkeypatch.undo()
    same_numbers(found, PrefixCache(base, 64, OFF).rows(texts, [2], LAYERS))


def test_only_a_lack_of_room_is_passed_over(base, monkeypatch):
    def fail(*_: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(PrefixCache, "_run", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        PrefixCache(base, 64).rows(["oil"], [2], LAYERS)
    assert issubclass(SpaceError, OSError)


def test_the_size_is_said_before_the_work_begins(base, caplog):
    texts = texts_of(10)
    with caplog.at_level(logging.INFO, "tsugiki"):
        found = PrefixCache(base, 64).rows(texts, [2, 3], LAYERS)
        PrefixCache(base, 64).rows(texts, [2, 3], LAYERS)
    record, again = caplog.records
    tokens = sum(found.lengths)
    num_bytes = tokens * 32 * 4 * 2 + 10 * (LAYERS + 1) * 32 * 4
    assert f"{num_bytes / 1000:.1f} kB" in record.message and "10 row(s) are known" in again.message
    kept = sum(path.stat().st_size for path in cache_root().rglob("*.bin"))
    assert kept == num_bytes
    assert PrefixCache(base, 64).num_bytes(found.lengths, 2) == tokens * 32 * 4 * 2
    assert found.cache_s > 0
