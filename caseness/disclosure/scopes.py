"""Who gets which rows of a release: one file for everybody, and one for each site with more of its own.

Which groups belong to which scope are rows of ``publication_tables.csv``. What the files hold together is what the
audit attacks: a site's file tells its readers more of that site, and nothing that all files together do not tell.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from caseness.dbt_runner import publication_rows

PUBLIC, _SITE = "public", "site"
TABLE = "pub_outcomes_by_group"
LAYERS = (0, 1, 2)
_SITE_COLUMN = "service_code"
_PLAIN = re.compile(r"[A-Za-z0-9_]{1,60}")


def scopes(connection: Any) -> dict[str, str]:
    """Name of each scope -> which rows of the outcome groups its file holds, as a condition."""
    public, own = _declared({PUBLIC}), _declared({PUBLIC, _SITE})
    found = {PUBLIC: public}
    values = f"select distinct first_group_value from publication.{TABLE} where group_dimension = '{_SITE_COLUMN}'"
    sites = connection.execute(f"{values} order by 1").fetchall()
    for (site,) in sites:
        if not _PLAIN.fullmatch(site):  # such as "not recorded", which is no site
            continue
        of_site = " or ".join(
            f"(split_part(group_dimension, '+', {place}) = '{_SITE_COLUMN}' and {column} = '{site}')"
            for place, column in ((1, "first_group_value"), (2, "second_group_value"))
        )
        found[f"{_SITE}_{site}"] = f"({public}) or (({own}) and ({of_site}))"
    return found


def rows_of(connection: Any, condition: str) -> int:
    """How many rows a scope's file holds."""
    return int(connection.execute(f"select count(*) from publication.{TABLE} where {condition}").fetchone()[0])


@cache
def layer_of(dimension: str, period_kind: str) -> int:
    """When a group is added to what is attacked: of one column for everybody, of two columns, for one site.

    What a later layer tells costs that layer, so that the simple tables for everybody never go for the sake of others.
    """
    is_public = any(
        row["slice_value"] == dimension and period_kind in row["period_kinds"].split("+") and row["scope"] == PUBLIC
        for row in publication_rows()
        if row["table_name"] == TABLE
    )
    if not is_public and dimension in _dimensions():
        return LAYERS[-1]
    return 1 if "+" in dimension else 0


def _dimensions() -> set[str]:
    return {row["slice_value"] for row in publication_rows() if row["table_name"] == TABLE}


def _declared(scopes: set[str]) -> str:
    """The declared dimensions and kinds of period of some scopes, as a condition."""
    groups = [
        f"(group_dimension = '{row['slice_value']}' and period_kind = '{kind}')"
        for row in publication_rows()
        if row["table_name"] == TABLE and row["scope"] in scopes
        for kind in row["period_kinds"].split("+")
    ]
    return " or ".join(groups)
