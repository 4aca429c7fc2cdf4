"""Domains trained together: what an input finds by itself, beside what it would score if its domain were named.

`python -m benchmarks.domains --data FOLDER --out FILE`. CLINC150, whose 150 intents its authors drew up in ten domains
of fifteen (Larson et al. 2019, the list below); out-of-scope rows have none. At most 4,000 training rows, 1,000 of
validation, 2,000 of test; modules at all projections from layer 4 of 6, three seeds: modules that always act; groups of
rank 4 for each domain beside them. Nothing is timed.
"""

import argparse
import logging
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from benchmarks.kept import Kept
from benchmarks.machine import machine
from tsugiki.data.rows import Rows, Splits, read_splits
from tsugiki.data.split import subsample
from tsugiki.tasks.adapter import Adapter
from tsugiki.train.config import read_config
from tsugiki.train.run import train_adapter

SEEDS, ROWS = 3, {"train": 4_000, "validation": 1_000, "test": 2_000}
SETTINGS = {
    "precision": "fp32",
    "train.words": False,
    "placement.strategy": "uniform",
    "placement.boundary": 4,
}
_INTENTS = {
    "banking": """freeze_account routing pin_change bill_due pay_bill account_blocked interest_rate min_payment
        bill_balance transfer order_checks balance spending_history transactions report_fraud""",
    "credit cards": """replacement_card_duration expiration_date damaged_card improve_credit_score report_lost_card
        card_declined credit_limit_change apr redeem_rewards credit_limit rewards_balance application_status
        credit_score new_card international_fees""",
    "kitchen and dining": """food_last confirm_reservation how_busy ingredients_list calories nutrition_info recipe
        restaurant_reviews restaurant_reservation meal_suggestion restaurant_suggestion cancel_reservation
        ingredient_substitution cook_time accept_reservations""",
    "home": """what_song play_music todo_list_update reminder reminder_update calendar_update order_status
        update_playlist shopping_list calendar next_song order todo_list shopping_list_update smart_home""",
    "auto and commute": """current_location oil_change_when oil_change_how uber traffic tire_pressure
        schedule_maintenance gas mpg distance directions last_maintenance gas_type tire_change jump_start""",
    "travel": """plug_type travel_notification translate flight_status international_visa timezone exchange_rate
        travel_suggestion travel_alert vaccines lost_luggage book_flight book_hotel carry_on car_rental""",
    "utility": """weather alarm date find_phone share_location timer make_call calculator definition
        measurement_conversion flip_coin spelling time roll_dice text""",
    "work": """pto_request_status next_holiday insurance_change insurance meeting_schedule payday taxes income
        rollover_401k pto_balance pto_request w2 schedule_meeting direct_deposit pto_used""",
    "small talk": """who_made_you meaning_of_life who_do_you_work_for do_you_have_pets what_are_your_hobbies fun_fact
        what_is_your_name where_are_you_from goodbye thank_you greeting tell_joke are_you_a_bot how_old_are_you
        what_can_i_ask_you""",
    "meta": """change_speed user_name whisper_mode yes change_volume no change_language repeat change_accent cancel
        sync_device change_user_name change_ai_name reset_settings maybe""",
}
DOMAIN = {intent: domain for domain, intents in _INTENTS.items() for intent in intents.split()}


def rows_of(data: Path) -> Splits:
    """The set with its domains."""
    found = read_splits(data / "clinc150")
    return Splits(**{name: _with_domains(getattr(found, name), most) for name, most in ROWS.items()})


def _with_domains(rows: Rows, most: int) -> Rows:
    few = rows.take(subsample(rows.strata, most, 0))
    return replace(few, domains=tuple(DOMAIN.get(label, "") for label in few.labels or ()))


def of_seed(splits: Splits, seed: int) -> dict[str, Any]:
    """Scores on the test rows of all that was trained."""
    trained = train_adapter(splits, read_config(None, {**SETTINGS, "train.seed": seed}))
    found: dict[str, Any] = {}
    for candidate in trained.candidates:
        adapter = trained.adapter_of(candidate)
        found[candidate.variant] = {"num_trainable": candidate.num_trainable, **_scores(adapter, splits.test)}
        adapter.close()
    return found


def _scores(adapter: Adapter, test: Rows | None) -> dict[str, Any]:
    assert test is not None and test.labels is not None and test.domains is not None
    inside = np.array([bool(domain) for domain in test.domains])

    def right(domains: list[str | None] | None) -> Any:
        answers = adapter.predict(test.texts, domains=domains)
        return np.array([a.label == label for a, label in zip(answers, test.labels or (), strict=True)])

    asked, routing = right(None), adapter.manifest.routing
    told: dict[str, Any] = {"score": float(asked.mean()), "inside": float(asked[inside].mean())}
    if routing is not None and routing.domains:
        named = right([domain or None for domain in test.domains])
        told |= {"named": float(named[inside].mean()), "of_named": float(asked[inside].mean() / named[inside].mean())}
        told |= {"lost": float((named & ~asked)[inside].mean()), "won": float((asked & ~named)[inside].mean())}
    return told | ({f"validation_{k}": v for k, v in routing.metrics.items()} if routing is not None else {})


def main() -> None:
    """Train what is missing and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TSUGIKI_DATA", "data")))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    splits, kept = rows_of(options.data), Kept(options.out)
    runs = [kept.get(f"seed {seed}", partial(of_seed, splits, seed)) for seed in range(SEEDS)]
    for variant in runs[0]:
        for name in runs[0][variant]:
            values = [run[variant][name] for run in runs]
            print(f"{variant:20} {name:15} {mean(values):.4f} ± {stdev(values):.4f}")
    kept.get("machine", machine)


if __name__ == "__main__":
    main()
