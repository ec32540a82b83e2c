"""Exports of a large service: people, referrals, contacts, questionnaires; by SQL, so that 20 million take a minute.

Every number comes from the hash of a person's number and a place, so that the same call writes the same rows whatever
the order: clustered (all of a person's rows together, in time) or shuffled (nobody's rows near each other).
"""

from __future__ import annotations

from pathlib import Path

import duckdb

ORDERS = ("clustered", "shuffled")
_FIRST_DAY = "date '2023-01-02'"
_REFERRAL_DAYS = 1000
_CONTACTS = 4
# One person's ten questionnaires: PHQ-9 and GAD-7 by turns, one pair every two weeks.
_QUESTIONNAIRES_OF_A_PERSON = 10
_ITEMS = {"PHQ-9": 9, "GAD-7": 7}


def _drawn(place: str, below: int) -> str:
    """A number from 0 to ``below`` - 1 for a person and a place."""
    return f"cast(hash(n, '{place}') % {below} as integer)"


def write_exports(
    folder: Path,
    *,
    people: int,
    order: str,
    items_share: float = 0.1,
    first_person: int = 0,
    is_increment: bool = False,
    memory_megabytes: int = 4096,
) -> dict[str, int]:
    """Write one Parquet file a stream into ``folder``; rows by stream.

    ``items_share``: share of the questionnaires that arrive as items, the others as totals. ``is_increment``: what
    comes a day later for people ``first_person`` and following, one contact and one pair of questionnaires each.
    Raises ``ValueError`` for an unknown order.
    """
    if order not in ORDERS:
        raise ValueError(order)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "delivery.yml").write_text("source: large\ntime_zone: Europe/London\n", encoding="utf-8")
    with duckdb.connect() as connection:
        connection.execute(f"set memory_limit = '{memory_megabytes}MB'; set preserve_insertion_order = false")
        connection.execute(
            f"create view people_numbers as select range as n from range({first_person}, {first_person + people})"
        )
        made = _increment(items_share) if is_increment else _whole(items_share)
        written = {}
        for stream, (statement, cluster) in made.items():
            by = cluster if order == "clustered" else f"hash({cluster}, 'order')"
            path = folder / f"{stream}.parquet"
            connection.execute(
                f"copy (select * exclude (n) from ({statement}) as made order by {by}) to '{path}' (format parquet)"
            )
            row = connection.execute(f"select count(*) from read_parquet('{path}')").fetchone()
            written[stream] = int(row[0]) if row else 0
    return written


def _received() -> str:
    return f"({_FIRST_DAY} + {_drawn('referral', _REFERRAL_DAYS)})"


def _stamp(day: str, hour: int) -> str:
    return f"strftime({day}, '%Y-%m-%dT{hour:02d}:00:00Z')"


def _whole(items_share: float) -> dict[str, tuple[str, str]]:
    received = _received()
    start = f"({received} + 7 + {_drawn('wait', 60)})"
    is_open = f"{_drawn('open', 10)} = 0"
    people = f"""
        select n, concat('p', n) as person_code,
            strftime(date '1940-01-01' + {_drawn("birth", 22000)}, '%Y-%m-%d') as birth_date,
            case when {_drawn("sex", 2)} = 0 then 'female' else 'male' end as sex,
            ['A', 'B', 'D', 'H', 'L', 'M', 'N', 'R', 'Z'][1 + {_drawn("ethnicity", 9)}] as ethnicity_code,
            1 + {_drawn("imd", 10)} as imd_decile
        from people_numbers
    """
    referrals = f"""
        select n, concat('r', n) as referral_code, concat('p', n) as person_code,
            concat('service_', lpad(cast(1 + {_drawn("service", 40)} as varchar), 2, '0')) as service_code,
            strftime({received}, '%Y-%m-%d') as referral_received_date,
            case when {is_open} then '' else strftime({start} + 90, '%Y-%m-%d') end as discharge_date,
            'active' as record_status
        from people_numbers
    """
    contacts = f"""
        select n, concat('c', n, '_', place) as contact_code, concat('r', n) as referral_code,
            concat('p', n) as person_code, {_stamp(f"{start} + cast(place * 14 as integer)", 10)} as contact_at,
            case when hash(n, place, 'attended') % 8 = 0 then 3 else 5 end as attendance_code, '02' as appointment_type,
            ['in_person', 'video', 'telephone', 'text'][1 + {_drawn("modality", 4)}] as modality,
            'active' as record_status
        from people_numbers cross join (select range as place from range({_CONTACTS})) as places
    """
    sheets = f"""
        select n, place, concat('q', n, '_', place) as response_code, concat('r', n) as referral_code,
            concat('p', n) as person_code, case when place % 2 = 0 then 'PHQ-9' else 'GAD-7' end as instrument_code,
            {_stamp(f"{start} + cast((place // 2) * 14 as integer)", 9)} as answered_at,
            'completed' as response_status
        from people_numbers cross join (select range as place from range({_QUESTIONNAIRES_OF_A_PERSON})) as places
    """
    return {
        "people": (people, "n"),
        "referrals": (referrals, "n"),
        "care_contacts": (contacts, "n, contact_code"),
        **_questionnaires(sheets, items_share),
    }


def _questionnaires(sheets: str, items_share: float) -> dict[str, tuple[str, str]]:
    per_mille = round(1000 * items_share)
    has_items = f"hash(n, place, 'items') % 1000 < {per_mille}"
    # Scores fall over the course from where a person began, give or take three.
    level = f"greatest(0, {_drawn('level', 22)} - place + cast(hash(n, place, 'noise') % 7 as integer) - 3)"
    totals = f"""
        select n, response_code, referral_code, person_code, instrument_code,
            least({level}, case when instrument_code = 'PHQ-9' then 27 else 21 end) as total_value,
            answered_at, response_status
        from ({sheets}) as sheets where not {has_items}
    """
    answers = f"""
        select n, response_code, referral_code, person_code, instrument_code, item_number, 'answered' as answer_state,
            hash(n, place, item_number, 'answer') % 4 as answer_value, 'scored_value' as answer_value_kind, answered_at,
            response_status
        from ({sheets}) as sheets
        inner join (
            select 'PHQ-9' as instrument, range + 1 as item_number from range({_ITEMS["PHQ-9"]})
            union all
            select 'GAD-7' as instrument, range + 1 as item_number from range({_ITEMS["GAD-7"]})
        ) as items on sheets.instrument_code = items.instrument
        where {has_items}
    """
    return {
        "questionnaire_totals": (totals, "n, response_code"),
        "questionnaire_answers": (answers, "n, response_code, item_number"),
    }


def _increment(items_share: float) -> dict[str, tuple[str, str]]:
    day = "date '2026-03-02'"
    contacts = f"""
        select n, concat('c', n, '_late') as contact_code, concat('r', n) as referral_code,
            concat('p', n) as person_code, {_stamp(day, 10)} as contact_at, 5 as attendance_code,
            '02' as appointment_type, 'video' as modality, 'active' as record_status
        from people_numbers
    """
    sheets = f"""
        select n, place, concat('q', n, '_late', place) as response_code, concat('r', n) as referral_code,
            concat('p', n) as person_code, case when place % 2 = 0 then 'PHQ-9' else 'GAD-7' end as instrument_code,
            {_stamp(day, 9)} as answered_at, 'completed' as response_status
        from people_numbers cross join (select range as place from range(2)) as places
    """
    return {"care_contacts": (contacts, "n, contact_code"), **_questionnaires(sheets, items_share)}
