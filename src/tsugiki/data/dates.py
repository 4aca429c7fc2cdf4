"""Whether values are dates, in the ways in which files of Japan and of the West write them."""

import re
import unicodedata
from collections.abc import Collection

_SHARE = 0.9
_TIME = r"([T ]\s*\d{1,2}(:\d{2}){1,2}(\.\d+)?(Z|[+-]\d{2}:?\d{2})?)?"
_MONTHS = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_FORMS = (
    r"(19|20)\d{2}[-/.]\d{1,2}[-/.]\d{1,2}",
    r"(19|20)\d{2}年\s?\d{1,2}月(\s?\d{1,2}日)?",
    r"(令和|平成|昭和|[rhs])\s?(\d{1,2}|元)[年./-]\s?\d{1,2}[月./-](\s?\d{1,2}日?)?",
    r"\d{1,2}月\s?\d{1,2}日",
    r"(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])",
    r"\d{1,2}[-/.]\d{1,2}[-/.](19|20)\d{2}",
    r"\d{1,2}/\d{1,2}/\d{2}",
    rf"{_MONTHS}\s\d{{1,2}},?\s(19|20)\d{{2}}",
    rf"\d{{1,2}}[ -]{_MONTHS}[ -](19|20)?\d{{2}}",
)
_DATE = re.compile(rf"({'|'.join(_FORMS)})(\s?\([月火水木金土日a-z]+\))?{_TIME}", re.IGNORECASE)


def are_dates(values: Collection[str]) -> bool:
    """Whether nine in ten of some values look like dates."""
    dates = sum(bool(_DATE.fullmatch(unicodedata.normalize("NFKC", value).strip())) for value in values)
    return bool(values) and dates >= _SHARE * len(values)
