"""Rows of a comparison, as `results.json` has them."""

import pytest

_ZEROS = (
    *("cache_s", "sweep_s", "latency_ms_p50", "latency_ms_p50_batch32", "infer_flops", "peak_bytes"),
    *("serve_peak_bytes", "load_s", "package_bytes"),
)


def row(method, seed, score, *, won=True, variant="v", target=0.8, train_s=10.0, num_trainable=1000):
    reached = target is not None and score >= target
    return {
        **dict.fromkeys(_ZEROS, 0.0),
        **{"dataset": "tickets", "method": method, "variant": variant, "seed": seed, "won": won},
        **{"score": score, "macro_f1": score, "validation_score": score, "target_score": target},
        **{"num_trainable": num_trainable, "trainable_share": 0.1, "train_s": train_s},
        **{"curve": [[0.0, 0.0], [train_s / 2, score / 2], [train_s, score]]},
        **{"time_to_target_s": train_s if reached else None, "metric": "accuracy", "target_precision": 0.95},
        **{"calibration_error": 0.04, "automatic_share": 0.5, "automatic_precision": 0.96},
        **{"coverage": [[0.2, 1.0], [0.5, 0.96], [1.0, score]]},
    }


def difference(method, against, low, high):
    points = {"difference_points": (low + high) / 2, "low_points": low, "high_points": high}
    return {"method": method, "against": against, "level": 0.9, **points}


@pytest.fixture
def rows():
    return [
        row("tsugiki", 0, 0.85, variant="suffix 2/4"),
        row("tsugiki", 0, 0.70, won=False, variant="head"),
        row("tsugiki", 1, 0.75, variant="readout"),
        row("full", 0, 0.82, train_s=100.0, num_trainable=100_000),
        row("full", 1, 0.82, train_s=110.0, num_trainable=100_000),
        row("probe-all", 0, 0.60, train_s=1.0, num_trainable=500),
        row("probe-all", 1, 0.60, train_s=1.0, num_trainable=500),
    ]


@pytest.fixture
def differences():
    return [
        difference("tsugiki", "full", -3.0, 2.0),
        difference("probe-all", "full", -25.0, -15.0),
        difference("tsugiki", "probe-all", 15.0, 25.0),
        difference("full", "probe-all", 16.0, 26.0),
    ]
