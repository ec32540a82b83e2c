"""What one release hides another must not tell: earlier releases are attacked together with the new one."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from caseness.commands.check import run_check
from caseness.commands.evaluate import run_evaluate
from caseness.commands.publish import run_publish
from caseness.settings import Settings
from tests.fixtures.service import Service, contact, person, referral, total

COURSES, ANXIETY_SCORES = 40, 7
_FIRST = dt.date(2025, 2, 3)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Forty courses of as many people, seven of whom were once asked for anxiety."""
    folder = tmp_path_factory.mktemp("successive")
    service = Service(folder / "home")
    streams: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("people", "referrals", "care_contacts", "questionnaire_totals")
    }
    for number in range(COURSES):
        code = f"c{number}"
        streams["people"].append(person("p_" + code))
        streams["referrals"].append(referral(code, "2025-01-06", "2025-06-02"))
        for week in (0, 1):
            day = (_FIRST + dt.timedelta(days=7 * week)).isoformat()
            streams["care_contacts"].append(contact(f"{code}_{week}", code, day))
            streams["questionnaire_totals"].append(
                total(f"{code}_{week}", code, "PHQ-9", 10 + number % 5 - 9 * week * (number % 2), day)
            )
        if number < ANXIETY_SCORES:
            streams["questionnaire_totals"].append(total(f"{code}_g", code, "GAD-7", 9, _FIRST.isoformat()))
    assert service.deliver(folder / "in", streams)["rows_quarantined"] == 0
    service.build()
    run_check(settings=service.settings)
    run_evaluate(settings=service.settings)
    return service.settings


def _published(settings: Settings) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """The manifest of a new release, and how it tells the scores for anxiety."""
    folder = Path(settings.paths.releases / run_publish(settings=settings).as_dict()["release_id"])
    with duckdb.connect(str(folder / "public.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            "select scores_count, scores_status from pub_score_completeness "
            "where instrument_code = 'GAD-7' and completeness = 'all'"
        ).fetchall()
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8")), rows


def test_a_count_that_one_release_hides_is_not_told_by_the_next(settings: Settings) -> None:
    """Seven is hidden by the first rule, which hides up to 7; by the second it stands as 9, which is 7 to 12."""
    first, hidden = _published(settings)
    assert hidden == [(None, "suppressed")]
    assert first["audit"]["earlier_releases_attacked"] == []
    second, left = _published(settings.with_changes(disclosure_profile="midpoint6"))
    assert second["audit"]["earlier_releases_attacked"] == [first["release_id"]]
    assert left == []
    assert "scores of GAD-7" in second["dropped_by_the_audit"]


def test_the_same_build_under_the_same_rule_is_the_same_release(settings: Settings) -> None:
    """It was published, and is made current again as it stands; what came between changes nothing of it."""
    run_publish(settings=settings)
    again = run_publish(settings=settings).as_dict()
    assert again["was_published_before"]
    folder = Path(settings.paths.releases / again["release_id"])
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert (again["dropped"], again["audit"]) == (manifest["dropped_by_the_audit"], manifest["audit"])
    pointer = json.loads(settings.paths.current_release.read_text(encoding="utf-8"))
    assert pointer == {"release_id": again["release_id"], "files": again["files"]}


def test_a_rule_alone_tells_what_it_may(settings: Settings, tmp_path: Path) -> None:
    """Without the first release, the second one's count stays."""
    import shutil

    home = tmp_path / "home"
    shutil.copytree(settings.home, home)
    alone = settings.with_changes(home=home, disclosure_profile="midpoint6")
    shutil.rmtree(alone.paths.releases)
    _, rows = _published(alone)
    assert rows == [(9, "shown")]
