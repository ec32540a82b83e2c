"""The audit of a release before it is published: what may never stand in it, and what it tells with all before it."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from typing import Any

from caseness import warehouse
from caseness.dbt_runner import publication_rows
from caseness.disclosure import beside, checks, scopes
from caseness.disclosure.attack import Profile
from caseness.disclosure.beside import TruthBeside
from caseness.disclosure.beside_audit import attack_beside
from caseness.disclosure.outcomes_audit import attack_outcomes
from caseness.disclosure.truth import Truth
from caseness.disclosure.union import Published
from caseness.errors import CheckFailedError

Progress = Callable[[str], None]
_ATTACK_SECONDS = 1200.0  # a guard; what is dropped is decided by nodes, which are the same on every machine
# What the audit says of the outcomes together, of the tables beside them, and in all.
_TOLD = (
    "protected_cells",
    "recovered_before_dropping",
    "recovered_exactly",
    "recovered_within_one",
    "unanswered",
    "known_from_earlier_releases_alone",
)


def audited(
    connection: Any,
    profile: Profile,
    state: dict[str, Any],
    earlier: Sequence[Published] = (),
    *,
    truth: Truth | None = None,
    say: Progress | None = None,
) -> tuple[list[str], dict[str, Any], dict[str, int]]:
    """Audit; what the attacker breaks is dropped where the declaration allows it. Returns drops, report, table sizes.

    Outcomes are attacked with everything published so far (``union``), and so are the tables beside them
    (``beside``).
    """
    names = sorted({row["table_name"] for row in publication_rows()})
    tables = {name: warehouse.table_rows(connection, f"publication.{name}") for name in names}
    faults = checks.structure_faults(tables, names) + checks.count_faults(tables, profile)
    if faults:
        raise CheckFailedError(
            "the tables break the disclosure rule: " + "; ".join(faults[:5]),
            remedy="nothing was published; this is a fault of caseness, please report it",
        )
    started = time.monotonic()
    until = started + _ATTACK_SECONDS
    say = say or (lambda message: None)
    rivals = sorted({one.profile.name for one in earlier if one.build == state["build_id"]} - {profile.name})
    if rivals:
        say(f"this build was published under {', '.join(rivals)} before: two rules tell more than each, so more may go")
    try:
        return _attacked(connection, profile, state, earlier, truth=truth, until=until, say=say, started=started)
    except CheckFailedError as error:
        if not rivals:
            raise
        raise CheckFailedError(
            str(error),
            remedy=f"nothing was published; this build was published under {', '.join(rivals)} before, and two rules "
            f"tell more than each: keep to disclosure_profile {rivals[0]}",
        ) from error


def _attacked(
    connection: Any,
    profile: Profile,
    state: dict[str, Any],
    earlier: Sequence[Published],
    *,
    truth: Truth | None,
    until: float,
    started: float,
    say: Progress,
) -> tuple[list[str], dict[str, Any], dict[str, int]]:
    names = sorted({row["table_name"] for row in publication_rows()})
    others, dropped = attack_beside(
        connection,
        earlier,
        lambda: _this_release(connection, profile, state, layer=0),
        truth=TruthBeside(connection, str(state["build_id"])) if truth else None,
        until=until,
        say=say,
    )
    together, coarsened = attack_outcomes(
        connection,
        earlier,
        lambda layer: _this_release(connection, profile, state, layer=layer),
        truth=truth,
        until=until,
        say=say,
    )
    dropped += coarsened
    overview = warehouse.table_rows(connection, "publication.pub_service_overview")
    results = warehouse.table_rows(connection, "marts.measure_results")
    accuracy = checks.headline_accuracy(overview, results, profile)
    if not accuracy.is_within_the_rule:
        raise CheckFailedError(
            "a shown headline number is further from the truth than its rounding allows",
            remedy="nothing was published; this is a fault of caseness, please report it",
        )
    audit = {
        "attacked": "the tables of this and every earlier release together: outcomes with their margins by group, by "
        "period and over all and with what the measures' definitions imply; activity, completeness, trajectories, "
        "severity flows and who started; and what the means tell of groups whose own is hidden",
        "not_attacked": "ties between the outcomes and the other tables; intervals of the model's means",
        **{name: together[name] + others[name] for name in _TOLD},
        "together": together,
        "beside": others,
        "seconds": round(time.monotonic() - started, 2),
        "time_limit_seconds": _ATTACK_SECONDS,
        "headline": accuracy.published(),
    }
    sizes = {name: len(warehouse.table_rows(connection, f"publication.{name}")) for name in names}
    return dropped, audit, sizes


def _this_release(connection: Any, profile: Profile, state: dict[str, Any], *, layer: int) -> Published:
    """What is published of this build up to a layer."""
    groups = warehouse.table_rows(connection, "publication.pub_outcomes_by_group")
    return Published(
        "this release",
        str(state["build_id"]),
        dt.date.fromisoformat(state["rules"]["as_of_date"]),
        profile,
        warehouse.table_rows(connection, "publication.pub_service_overview"),
        [row for row in groups if scopes.layer_of(str(row["group_dimension"]), str(row["period_kind"])) <= layer],
        {name: warehouse.table_rows(connection, f"publication.{name}") for name in beside.TABLES},
    )
