"""What a comparison comes to, in sentences."""

from collections.abc import Iterator, Sequence

from tsugiki.i18n import text
from tsugiki.report.tables import Row, Summary, interval, metric_name, number, percent, signed, summaries

SIMPLE = ("probe-all", "tfidf")
"""The two that train nothing inside the base and are measured against; `probe-last` reads less than `probe-all`."""


def verdicts(rows: Sequence[Row], differences: Sequence[Row]) -> Iterator[str]:
    """What a comparison comes to: which is best, what ours costs, whether something simpler is enough."""
    groups = {group.method: group for group in summaries(rows)}
    best = max(groups.values(), key=lambda group: group["score"])
    metric = metric_name(rows[0].get("metric", "accuracy"))
    yield text("compare.best", method=best.method, metric=metric, score=percent(best["score"]), seeds=best.num_seeds)
    if "tsugiki" in groups:
        yield from _ours(groups["tsugiki"], groups.get("full"), differences)
    yield _simple(groups, differences)
    if "full" not in groups:
        yield text("compare.no_target")
        return
    for group in groups.values():
        if group.num_reached is not None and group.num_reached < group.num_seeds:
            facts = {"method": group.method, "reached": group.num_reached, "seeds": group.num_seeds}
            key = "compare.partly" if group.num_reached else "compare.never"
            yield text(key, target=percent(rows[0]["target_score"]), **facts)


def _ours(ours: Summary, full: Summary | None, differences: Sequence[Row]) -> Iterator[str]:
    facts = {"train": number(ours["train_s"]), "parameters": number(ours["num_trainable"])}
    yield text("compare.cost", share=percent(ours["trainable_share"]), variants=", ".join(ours.variants), **facts)
    if full is None:
        return
    ratio = full["train_s"] / ours["train_s"]
    key = "compare.faster" if ratio >= 1 else "compare.slower"
    yield text(key, full=number(full["train_s"]), ratio=f"{max(ratio, 1 / ratio):.1f}")
    yield _difference(_of(differences, "tsugiki", "full"))


def _difference(d: Row) -> str:
    key = "better" if d["low_points"] > 0 else "worse" if d["high_points"] < 0 else "level"
    facts = {"method": d["method"], "against": d["against"], "difference": signed(d["difference_points"])}
    return text(f"compare.{key}", interval=interval(d), level=f"{100 * d['level']:.0f}", **facts)


def _simple(groups: dict[str, Summary], differences: Sequence[Row]) -> str:
    """Whether a probe or words alone are enough."""
    rivals = {d["against"] for d in differences if d["against"] in SIMPLE}
    trained = [group for name, group in groups.items() if name not in (*SIMPLE, "probe-last")]
    if not rivals or not trained:
        return text("compare.no_simple")
    simple = groups[rivals.pop()]
    best = max(trained, key=lambda group: group["score"])
    d = _of(differences, best.method, simple.method)
    facts = {"simple": simple.method, "score": percent(simple["score"]), "method": best.method}
    key = "compare.simple_not_enough" if d["low_points"] > 0 else "compare.simple_enough"
    return text(key, difference=signed(d["difference_points"]), interval=interval(d), **facts)


def _of(differences: Sequence[Row], method: str, against: str) -> Row:
    return next(d for d in differences if (d["method"], d["against"]) == (method, against))
