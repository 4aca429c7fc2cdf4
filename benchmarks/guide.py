"""Which graft for which rows: a table by business field, from the results of `benchmarks.sets`.

`python -m benchmarks.guide`. Writes the tables between the markers of `docs/explanation/guide.md` and
`docs/ja/guide.md`. Nothing is trained.
"""

import json
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.sets import FOLDED, RESULTS, WHOLE

BEGIN, END = "<!-- guide:begin -->", "<!-- guide:end -->"
DOCS = Path(__file__).parents[1] / "docs"
# Field and kind of text of each set, by language.
FIELDS = {
    "banking77": (("bank", "customers' questions"), ("銀行", "顧客の質問")),
    "clinc150": (
        ("assistants", "commands and questions, foreign ones among them"),
        ("対話窓口", "依頼と質問(対象外も含む)"),
    ),
    "goemotions_ekman": (("social media", "feelings in comments"), ("SNS", "投稿の感情")),
    "faa_incident_type": (("aviation", "reports of incidents"), ("航空", "トラブルの報告")),
    "failure_mode": (("maintenance", "what failed, in a few words"), ("保全", "短い故障の記述")),
}
HEADS = {
    "explanation/guide.md": (
        *(
            "field",
            "texts",
            "classes",
            "training rows",
            "what won",
            "accuracy",
            "above TF-IDF",
            "seconds",
            "parameters",
        ),
        "unseen at 95 %",
    ),
    "ja/guide.md": (
        *("分野", "文章", "クラス", "学習行", "選ばれたもの", "正解率", "TF-IDF との差", "秒", "パラメーター"),
        "確認不要(95%)",
    ),
}
TRAINED = {
    "banking77": 2_000,
    "clinc150": 2_000,
    "goemotions_ekman": 2_000,
    "faa_incident_type": 1_580,
    "failure_mode": 500,
}
CLASSES = {"banking77": 77, "clinc150": 151, "goemotions_ekman": 7, "faa_incident_type": 13, "failure_mode": 22}


def lines(language: int) -> list[tuple[str, ...]]:
    """A line for each set, the fewest classes first."""
    found: list[tuple[str, ...]] = []
    for name in sorted((*WHOLE, *FOLDED), key=CLASSES.__getitem__):
        rows = [row for row in json.loads((RESULTS / f"{name}.json").read_text()) if row["won"]]
        ours = [row for row in rows if row["method"] == "tsugiki"]
        words = [row for row in rows if row["method"] == "tfidf"]
        won = Counter(row["variant"] for row in ours)
        found.append(
            (
                *FIELDS[name][language],
                str(CLASSES[name]),
                f"{TRAINED[name]:,}",
                ", ".join(f"{variant} ({count})" for variant, count in won.most_common()),
                f"{_mean(ours, 'score', 100):.1f}",
                f"{_mean(ours, 'score', 100) - _mean(words, 'score', 100):+.1f}",
                f"{_mean(ours, 'train_s'):.0f}",
                f"{_mean(ours, 'num_trainable'):,.0f}",
                f"{_mean(ours, 'automatic_share', 100):.0f} %",
            )
        )
    return found


def _mean(rows: list[dict[str, Any]], field: str, times: float = 1.0) -> float:
    return times * fmean(row[field] for row in rows)


def main() -> None:
    """Write the tables."""
    for language, (page, heads) in enumerate(HEADS.items()):
        table = [heads, ("---",) * len(heads), *lines(language)]
        told = "\n".join("| " + " | ".join(cells) + " |" for cells in table)
        path = DOCS / page
        before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        path.write_text(f"{before}{BEGIN}\n\n{told}\n\n{END}{after}", encoding="utf-8")
        print(told)


if __name__ == "__main__":
    main()
