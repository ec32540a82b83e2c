"""One frozen settings object, read from ``caseness.toml`` in the home folder and from ``CASENESS_*``.

The environment wins over the file, explicit arguments win over both. Nothing here touches the disk beyond
reading the file: settings create no folder.
"""

from __future__ import annotations

import datetime as dt
import os
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)


class DisclosureProfile(StrEnum):
    """How published counts are controlled; the rules are rows of ``disclosure_profiles.csv``."""

    OPENSAFELY = "opensafely"
    NHS_MH = "nhs_mh"
    CMS11 = "cms11"
    MIDPOINT6 = "midpoint6"


class Deidentification(StrEnum):
    """Which dates and codes a delivery may carry (45 CFR 164.514)."""

    LIMITED_DATA_SET = "limited_data_set"
    EXPERT_DETERMINATION = "expert_determination"
    SAFE_HARBOR = "safe_harbor"


class IdentifierPolicy(StrEnum):
    """What the door does with a file that carries fields outside the contract."""

    REFUSE = "refuse"
    DROP = "drop"


def default_threads() -> int:
    """Number of threads the warehouse uses unless told otherwise: the cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


class Settings(BaseSettings):
    """Everything a run can be told. Frozen: a command that needs another value makes a copy."""

    model_config = SettingsConfigDict(env_prefix="CASENESS_", env_nested_delimiter="__", frozen=True, extra="forbid")

    home: Path = Field(default=Path(".home"), description="Folder that holds landing, build, releases, keys and logs.")
    project: str = Field(
        default="default",
        pattern=r"^[a-z][a-z0-9_]{0,39}$",
        description="Project name; part of the pseudonym domain, so that two projects cannot be joined.",
    )
    as_of_date: dt.date | None = Field(
        default=None,
        description="Last day the data speak for. Unset: the newest delivery's period end.",
    )
    disclosure_profile: DisclosureProfile = Field(
        default=DisclosureProfile.OPENSAFELY, description="Disclosure control of published tables."
    )
    scope: str = Field(
        default="public",
        description="Whose file of a release the dashboard shows: public, or site_ and a service's code.",
    )
    deidentification: Deidentification = Field(
        default=Deidentification.LIMITED_DATA_SET, description="De-identification profile of what is admitted."
    )
    expert_report: str | None = Field(
        default=None,
        max_length=200,
        description="Reference of the expert's report; required by the profile expert_determination.",
    )
    date_shift_weeks: int = Field(
        default=0,
        ge=0,
        le=520,
        description="Moves all dates of a person by one random number of weeks, up to this many to either side; only "
        "under expert_determination. 0: dates stay. What needs a calendar is then not computable.",
    )
    identifiers: IdentifierPolicy = Field(
        default=IdentifierPolicy.REFUSE,
        description="refuse: a file with fields outside its contract is refused. drop: such fields are never read.",
    )
    programme_start_date: dt.date = Field(
        default=dt.date(1900, 1, 1),
        description="Service dates before this day quarantine their row (they may be birth dates). Birth, and the "
        "onset and end of an illness, are no service dates: any day is admitted there.",
    )
    key_file: Path | None = Field(
        default=None,
        description="File with the pseudonym key (32 bytes or more). Unset: keys/pseudonym.key in the home folder.",
    )
    memory_limit_megabytes: int = Field(
        default=3072, ge=256, description="Memory the warehouse engine may use, beside 600 MB of the program."
    )
    threads: int = Field(default_factory=default_threads, ge=1, le=256, description="Threads of the warehouse engine.")
    step_timeout_seconds: int = Field(
        default=7200, ge=10, description="Longest time one step may take before it is stopped."
    )
    file_size_limit_megabytes: int = Field(
        default=20_000, ge=1, description="Largest source file, after unpacking, that is read."
    )

    file_memory_limit_megabytes: int = Field(
        default=1024, ge=256, description="Memory one file's reader may hold; above it the file is refused."
    )
    file_timeout_seconds: int = Field(
        default=3600, ge=1, description="Longest time one file's reader may take; after it the file is refused."
    )

    keep_previous_build: bool = Field(
        default=True,
        description="Whether the build before the current one stays, at the price of its space: the next deliveries "
        "are added to it, where a large build would have to be copied first.",
    )
    parse_cache: Path | None = Field(
        default=None,
        description="Folder where the parsed models are kept for several homes. Unset: each home keeps its own.",
    )
    pathway: dict[str, str] = Field(
        default_factory=dict,
        description="Switches of the Talking Therapies pathway that do not stand at their default, by name: a section "
        "[pathway] in caseness.toml, CASENESS_PATHWAY__NAME in the environment. The rows are pathway_switches.csv.",
    )

    @field_validator("home", mode="after")
    @classmethod
    def _absolute_home(cls, value: Path) -> Path:
        path = value.expanduser().absolute()
        if any(character in str(path) for character in "*?[]"):
            raise ValueError("the home folder's path may not hold * ? [ or ]: the engine would read them as wildcards")
        return path

    @model_validator(mode="after")
    def _shift_needs_an_expert(self) -> Settings:
        if self.date_shift_weeks and self.deidentification is not Deidentification.EXPERT_DETERMINATION:
            raise ValueError("date_shift_weeks is only allowed under the profile expert_determination")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, the environment over ``caseness.toml``."""
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, cls._toml_path(init_settings)))

    @staticmethod
    def _toml_path(init_settings: PydanticBaseSettingsSource) -> Path:
        given = getattr(init_settings, "init_kwargs", {}).get("home") or os.environ.get("CASENESS_HOME") or ".home"
        return Path(given).expanduser() / "caseness.toml"

    @property
    def paths(self) -> HomePaths:
        """Where things live under ``home``."""
        return HomePaths(self.home)

    def with_changes(self, **changes: Any) -> Settings:
        """A validated copy with some values replaced."""
        return type(self).model_validate({**self.model_dump(), **changes})


class HomePaths:
    """The layout of a home folder. Pure names: nothing is created here.

    ``landing`` parts and manifests, ``build`` the current warehouse, the one before it and the result tables of check
    and evaluate, ``releases``, ``journal``, ``quarantine``, ``keys``, ``logs``.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.settings_file = home / "caseness.toml"
        self.home_file = home / "home.json"
        self.sources = home / "sources"
        self.landing = home / "landing"
        self.parts = self.landing / "parts"
        self.manifest = self.landing / "manifest"
        self.withdrawn = self.landing / "withdrawn"
        self.forgotten = self.landing / "forgotten.json"
        self.value_sets = home / "value_sets"
        self.backups = home / "backups"
        self.build = home / "build"
        self.current = self.build / "current.duckdb"
        self.build_state = self.build / "current.json"
        self.next_build_state = self.build / "next.json"
        self.previous = self.build / "previous.duckdb"
        self.previous_state = self.build / "previous.json"
        self.results = self.build / "results"
        self.dbt_target = self.build / "dbt"
        self.periods = home / "measurement_periods.csv"
        self.releases = home / "releases"
        self.current_release = self.releases / "current.json"
        self.journal = home / "journal" / "receipts.jsonl"
        self.quarantine = home / "quarantine"
        self.keys = home / "keys"
        self.value_sets = home / "value_sets"
        self.logs = home / "logs"
        self.temporary = self.build / "tmp"
        self.lock = home / ".lock"

    def folders(self) -> tuple[Path, ...]:
        """Every folder ``caseness init`` makes; ``keys`` gets mode 0700."""
        return (
            self.home,
            self.parts,
            self.manifest,
            self.build,
            self.results,
            self.releases,
            self.journal.parent,
            self.quarantine,
            self.keys,
            self.logs,
            self.temporary,
        )
