"""Of each instrument and purpose one default threshold is in force on a day: the warehouse joins it as one."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from screening.definitions import definitions


def test_no_two_default_thresholds_are_in_force_on_one_day() -> None:
    spans = defaultdict(list)
    for row in definitions("thresholds"):
        if row["is_default"] == "true" and not row["scale_code"] and not row["applies_to_sex"]:
            spans[row["instrument_code"], row["purpose"]].append((row["valid_from"], row["valid_to"] or "9999-12-31"))
    assert len(spans) > 40
    for key, found in spans.items():
        assert all(first[1] < second[0] for first, second in pairwise(sorted(found))), key
