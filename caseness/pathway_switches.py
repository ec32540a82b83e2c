"""The open points of the pathway, each a named switch: what the settings choose, checked against the definition rows.

The switches and their options are rows of ``pathway_switches.csv``; the settings choose in ``caseness.toml``, section
``[pathway]``, or by ``CASENESS_PATHWAY__<SWITCH>``. The dbt models read the choice with the macro ``pathway_switch``.
"""

from __future__ import annotations

from collections.abc import Mapping

from caseness.errors import UsageError
from caseness.settings import Settings
from screening.definitions import definitions


def switch_options() -> dict[str, list[str]]:
    """Every switch with its options, the default first."""
    found: dict[str, list[str]] = {}
    for row in sorted(definitions("pathway_switches"), key=lambda row: row["is_default"] != "true"):
        found.setdefault(row["switch_id"], []).append(row["option"])
    return {
        switch: found[switch] for switch in dict.fromkeys(row["switch_id"] for row in definitions("pathway_switches"))
    }


def chosen_switches(settings: Settings) -> dict[str, str]:
    """Every switch with the option in force. Raises ``UsageError`` for a switch or an option that is not a row."""
    options = switch_options()
    for switch, option in settings.pathway.items():
        if switch not in options:
            raise UsageError(
                f"the settings name a pathway switch that is unknown: {switch}", remedy="known: " + ", ".join(options)
            )
        if option not in options[switch]:
            raise UsageError(
                f"the pathway switch {switch} has no option {option}", remedy="options: " + ", ".join(options[switch])
            )
    return {switch: settings.pathway.get(switch, known[0]) for switch, known in options.items()}


def stated(switches: Mapping[str, str]) -> str:
    """``default``, or ``name=option, ...`` of the switches that stand otherwise, in the order of the rows."""
    others = [
        f"{switch}={switches[switch]}" for switch, known in switch_options().items() if switches[switch] != known[0]
    ]
    return ", ".join(others) or "default"
