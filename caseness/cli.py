"""The command line: it parses, the commands work. Heavy imports wait until a command needs them."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from caseness import __version__, telling

_WrongCallError: type[Exception] = typer.BadParameter.__mro__[2]  # every way of calling a command wrongly
app = typer.Typer(
    name="caseness",
    help="Clinical outcomes analytics and screening data warehouse for digital mental health.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Exit codes: 0 done; 1 something failed, or doctor found a problem; 2 wrong call; 3 a file was refused; "
    "4 a check, test or audit failed; 5 a step is missing; 6 another process writes; 7 the home is damaged; "
    "8 time limit; 9 the disk is full; 130 stopped by you.",
)
_ROWS_AS_TEXT = 1000
Home = Annotated[Path | None, typer.Option("--home", help="Home folder (default: CASENESS_HOME, or .home).")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Json = Annotated[bool, typer.Option("--json", help="One line of JSON, last on stdout.")]
Paths = Annotated[list[Path], typer.Argument(help="Files or folders of deliveries.")]
Periods = Annotated[
    list[str] | None, typer.Option("--measurement-period", help="START/END, ISO dates; kept for later builds.")
]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port of the dashboard, on loopback.")]
Identifiers = Annotated[
    str | None, typer.Option("--identifiers", help="refuse (default) or drop fields outside the contract.")
]


@dataclass
class _Common:
    home: Path | None
    quiet: bool
    as_json: bool


@app.callback()
def _common(context: typer.Context, home: Home = None, quiet: Quiet = False, json: Json = False) -> None:
    context.obj = _Common(home, quiet, json)


@app.command("version")
def _version(context: typer.Context, json: Json = False) -> None:
    """The version of caseness."""
    from caseness.console import Voice

    as_json = json or context.obj.as_json
    Voice(quiet=True, as_json=as_json).answer({"version": __version__}, text=__version__)


def _perform(
    context: typer.Context,
    command: str,
    home: Path | None,
    quiet: bool,
    json: bool,
    work: Callable[[Any, Any], int | None],
    default_home: Path | None = None,
    reads_home: bool = True,
    **changes: Any,
) -> None:
    """Settings, voice, time limit, log line and exit code around one command."""
    from caseness.console import Voice, log, time_limit
    from caseness.errors import CasenessError, UsageError
    from caseness.home import check as check_home
    from caseness.journal import plain_disk_full
    from caseness.settings import Settings

    common: _Common = context.obj
    voice = Voice(quiet=quiet or common.quiet or json or common.as_json, as_json=json or common.as_json)
    given = {name: value for name, value in changes.items() if value is not None}
    chosen = home or common.home
    started = time.monotonic()
    settings = None
    code = 1
    try:
        try:
            settings = Settings(**given) if chosen is None else Settings(home=chosen, **given)
            if default_home is not None and chosen is None and "home" not in settings.model_fields_set:
                settings = Settings(home=default_home, **given)
        except ValueError as error:
            raise UsageError(_settings_fault(error), remedy="see docs/settings.md") from error
        if settings.home.exists() and not settings.home.is_dir():
            raise UsageError("the home is a file, not a folder", remedy="give --home the name of a folder")
        with time_limit(settings.step_timeout_seconds, command), plain_disk_full():
            if reads_home:
                check_home(settings)
            code = work(settings, voice) or 0
    except CasenessError as error:
        voice.fail(error)
        code = error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:
        voice.fail(_system_fault(error))
    except KeyboardInterrupt:
        voice.note("stopped; what was not finished is as if it had not begun")
        code = 130
    finally:
        if settings is not None:
            log(settings, command, seconds=round(time.monotonic() - started, 2), exit_code=code)
    raise typer.Exit(code)


def _settings_fault(error: ValueError) -> str:
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        faults = [".".join(map(str, fault["loc"])) + ": " + fault["msg"] for fault in error.errors(include_input=False)]
        return "a setting is wrong: " + "; ".join(faults)
    return "caseness.toml cannot be read: it is not valid TOML"


def _system_fault(error: OSError) -> Any:
    """What the machine would not do, in one sentence; the name it tells is one the user gave or our own."""
    from caseness.errors import CasenessError

    where = f": {error.filename}" if error.filename else ""
    return CasenessError(
        f"the system refused ({error.strerror or type(error).__name__}{where})",
        remedy="check the folder's permissions and the free space; `caseness doctor` looks at both",
    )


@app.command()
def init(context: typer.Context, home: Home = None, quiet: Quiet = False, json: Json = False) -> None:
    """Make an empty home with its key and a settings file."""

    def work(settings: Any, voice: Any) -> None:
        from caseness.commands.initialise import run_init

        body = run_init(settings=settings)
        if body["was_a_home"]:
            added = f"{body['folders_made']} missing folders were added" if body["folders_made"] else "nothing changed"
            text = f"this is a home already, {added}: {settings.home}"
        else:
            text = f"the home is ready: {settings.home}\nnext: caseness run PATH..."
        voice.answer(body, text=text)

    _perform(context, "init", home, quiet, json, work)


@app.command()
def ingest(
    context: typer.Context,
    paths: Paths,
    person: Annotated[str | None, typer.Option(help="Whose export it is, where the files do not say.")] = None,
    namespace: Annotated[str | None, typer.Option(help="Identifier namespace of the person codes.")] = None,
    source: Annotated[str | None, typer.Option(help="Name of the sender.")] = None,
    time_zone: Annotated[str | None, typer.Option(help="IANA time zone of the persons, where not stated.")] = None,
    identifiers: Identifiers = None,
    home: Home = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Land deliveries: every row is admitted or quarantined, with file, row, column, rule and remedy."""

    def work(settings: Any, voice: Any) -> int:
        from ingestion.files import count_files
        from ingestion.workers import start_early

        start_early(settings, files=count_files(paths))
        import ingestion
        from caseness.commands.initialise import run_init

        run_init(settings=settings)
        with voice.working("ingest") as say:
            report = ingestion.ingest(
                paths,
                settings=settings,
                person=person,
                namespace=namespace,
                source=source,
                time_zone=time_zone,
                progress=say,
            )
        body = report.as_dict()
        voice.answer(body, text=telling.ingest_words(body))
        return 3 if report.files_refused else 0

    _perform(context, "ingest", home, quiet, json, work, identifiers=identifiers)


@app.command()
def build(
    context: typer.Context,
    measurement_period: Periods = None,
    full_refresh: Annotated[bool, typer.Option("--full-refresh", help="Transform everyone anew.")] = False,
    home: Home = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Build the warehouse from what is landed."""

    def work(settings: Any, voice: Any) -> None:
        from caseness.commands.build import run_build

        with voice.working("build") as say:
            report = run_build(
                settings=settings,
                measurement_periods=measurement_period or (),
                full_refresh=full_refresh,
                progress=say,
            )
        rows = ", ".join(f"{name} {count:,}" for name, count in report.rows.items())
        voice.answer(
            report.as_dict(),
            text=f"build {report.build_id} as of {report.as_of_date}: {rows}; {report.seconds} s\n"
            f"  content hash {report.content_hash}",
        )

    _perform(context, "build", home, quiet, json, work)


@app.command()
def check(context: typer.Context, home: Home = None, quiet: Quiet = False, json: Json = False) -> None:
    """Check what the deliveries are worth; writes build/check.html."""

    def work(settings: Any, voice: Any) -> int:
        from caseness.commands.check import run_check

        with voice.working("check") as say:
            body = run_check(settings=settings, progress=say).as_dict()
        voice.answer(body, text=telling.check_words(body))
        return 4 if body["fatal_failed"] else 0

    _perform(context, "check", home, quiet, json, work)


@app.command()
def evaluate(context: typer.Context, home: Home = None, quiet: Quiet = False, json: Json = False) -> None:
    """Estimate population trajectories with their uncertainty."""

    def work(settings: Any, voice: Any) -> None:
        from caseness.commands.evaluate import run_evaluate

        with voice.working("evaluate") as say:
            body = run_evaluate(settings=settings, progress=say).as_dict()
        voice.answer(body, text="\n".join(f"{name}: {value}" for name, value in body.items()))

    _perform(context, "evaluate", home, quiet, json, work)


@app.command()
def publish(context: typer.Context, home: Home = None, quiet: Quiet = False, json: Json = False) -> None:
    """Publish a release: disclosure-controlled tables, audited."""

    def work(settings: Any, voice: Any) -> None:
        from caseness.commands.publish import run_publish

        with voice.working("publish") as say:
            body = run_publish(settings=settings, progress=say).as_dict()
        voice.answer(body, text=telling.publish_words(body))

    _perform(context, "publish", home, quiet, json, work)


def _cost_table(body: dict[str, Any]) -> Any:
    from caseness.console import simple_table

    rows = [[step["step"], f"{step['seconds']:.1f}", f"{step['peak_megabytes']:,.0f}"] for step in body["steps"]]
    return simple_table(f"{body['seconds']:.1f} s in all", ["step", "seconds", "peak MB"], rows)


@app.command()
def run(
    context: typer.Context,
    paths: Paths,
    measurement_period: Periods = None,
    identifiers: Identifiers = None,
    home: Home = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Ingest, build, check, evaluate and publish."""

    def work(settings: Any, voice: Any) -> int:
        from caseness.commands.run import run_all

        report = run_all(paths, settings=settings, working=voice.working, measurement_periods=measurement_period or ())
        body = report.as_dict()
        voice.answer(body, text=telling.run_words(body))
        if not voice.as_json:
            voice.answer(body, text=_cost_table(body))
        return 3 if report.files_refused else 0

    _perform(context, "run", home, quiet, json, work, identifiers=identifiers)


@app.command()
def demo(
    context: typer.Context,
    people: Annotated[int, typer.Option(min=50, help="People of the synthetic service.")] = 20_000,
    years: Annotated[int, typer.Option(min=1, max=10, help="Years of referrals.")] = 3,
    seed: Annotated[int | None, typer.Option(help="Seed of the synthetic service.")] = None,
    serve: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve the dashboard at the end.")] = True,
    port: Port = 8501,
    home: Home = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """The whole job on a synthetic service, in an empty home; then the dashboard."""

    def work(settings: Any, voice: Any) -> int:
        import signal

        from caseness.commands.dashboard import check_port
        from caseness.commands.run import run_demo

        if serve:
            check_port(port)
        body = run_demo(settings=settings, people=people, years=years, seed=seed, working=voice.working).as_dict()
        if not voice.as_json:
            voice.answer(body, text=telling.run_words(body))
            voice.answer(body, text=_cost_table(body))
            voice.note("home of the demo: " + str(settings.home))
            if not serve:
                voice.note(f"see it: caseness --home {settings.home} dashboard")
        voice.answer(body)
        if serve:
            from caseness.commands.dashboard import run_dashboard

            signal.alarm(0)
            run_dashboard(settings=settings, port=port)
        return 0

    _perform(context, "demo", home, quiet, json, work, reads_home=False, default_home=Path(".home") / "demo")


@app.command()
def dashboard(
    context: typer.Context,
    port: Port = 8501,
    home: Home = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Serve the dashboard over the current release, on loopback only."""

    def work(settings: Any, voice: Any) -> int:
        import signal

        from caseness.commands.dashboard import check_release, run_dashboard

        check_release(settings)
        signal.alarm(0)
        run_dashboard(settings=settings, port=port)

    _perform(context, "dashboard", home, quiet, json, work)


@app.command()
def sql(
    context: typer.Context,
    statement: Annotated[
        str | None, typer.Argument(help="One SELECT; a bare name is looked for in marts, intermediate, staging, raw.")
    ] = None,
    tables: Annotated[bool, typer.Option("--tables", help="List the tables with their columns instead.")] = False,
    limit: Annotated[
        int | None, typer.Option(min=0, help="Most rows; 0 is all (default: 1000 as text, all as JSON).")
    ] = None,
    home: Home = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Ask the current build, read-only. The question is logged by its hash."""

    def work(settings: Any, voice: Any) -> None:
        from caseness.commands.sql import run_sql, run_tables
        from caseness.errors import UsageError

        if tables == (statement is not None):
            raise UsageError(
                "sql takes one SELECT, or --tables", remedy="for example: caseness sql 'select count(*) from people'"
            )
        if statement is None:
            answer = run_tables(settings=settings)
        else:
            most = limit if limit is not None else (0 if voice.as_json else _ROWS_AS_TEXT)
            answer = run_sql(statement, settings=settings, limit=most or None)
        voice.answer(answer.rows, text=answer.text(voice.width))
        if answer.is_cut:
            voice.warn(f"only the first {len(answer.rows):,} rows are shown; all of them: --limit 0, or --json")

    _perform(context, "sql", home, quiet, json, work)


@app.command()
def cohort(
    context: typer.Context,
    measure: Annotated[str, typer.Argument(help="A measure, such as recovery.")],
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="COLUMN=VALUE, such as sex=female; may be repeated. Columns: service, modality, product, severity, "
            "age, sex, ethnicity, deprivation, rurality, payer."
        ),
    ] = None,
    period: Annotated[str, typer.Option(help="A period of the release, such as fy_2025.")] = "all",
    scope: Annotated[
        str | None, typer.Option(help="Whose file of the release is asked; unset: the scope of the settings.")
    ] = None,
    home: Home = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """A measure of a group of people as it is published, or the nearest that is."""

    def work(settings: Any, voice: Any) -> None:
        from caseness.commands.cohort import run_cohort

        body = run_cohort(measure, settings=settings, where=where or (), period=period, scope=scope)
        voice.answer(body, text=telling.cohort_words(body))

    _perform(context, "cohort", home, quiet, json, work)


@app.command()
def trace(
    context: typer.Context,
    figure: Annotated[str, typer.Argument(help="A figure's name, as cohort and the dashboard's files give it.")],
    home: Home = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Where a published figure comes from: table, definition, release, build, files."""

    def work(settings: Any, voice: Any) -> None:
        from caseness.commands.trace import run_trace

        body = run_trace(figure, settings=settings)
        voice.answer(body, text=telling.trace_words(body))

    _perform(context, "trace", home, quiet, json, work)


@app.command()
def quarantine(
    context: typer.Context,
    source: Annotated[str | None, typer.Option(help="Only what this sender delivered.")] = None,
    home: Home = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Which rows of which files were not admitted as sent, why, and what to do; never their values."""

    def work(settings: Any, voice: Any) -> None:
        from caseness.commands.quarantine import run_quarantine

        rows = run_quarantine(settings=settings, source=source)
        voice.answer(rows, text=telling.quarantine_words(rows))

    _perform(context, "quarantine", home, quiet, json, work)


@app.command()
def score(
    context: typer.Context,
    instrument: Annotated[str, typer.Argument(help="For example PHQ-9.")],
    answers: Annotated[
        str | None,
        typer.Argument(help="a1,a2,...: scored values (reversed items turned), or missing, refused, na, not_asked."),
    ] = None,
    total: Annotated[str | None, typer.Option(help="A total that came without answers.")] = None,
    sex: Annotated[str | None, typer.Option(help="male or female, for the cuts that depend on it.")] = None,
    home: Home = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Score one answer sheet, or judge one total."""

    def work(settings: Any, voice: Any) -> None:
        from caseness.commands.score import run_score

        body = run_score(instrument, answers, total=total, sex=sex)
        voice.answer(body, text=telling.score_words(body))
        if body.get("items_out_of_range"):
            items = ", ".join(map(str, body["items_out_of_range"]))
            voice.warn(f"item {items} lies outside {body['item_range']}: the sheet is not valid and has no total")

    _perform(context, "score", home, quiet, json, work, reads_home=False)


@app.command()
def explain(
    context: typer.Context,
    measure: Annotated[str, typer.Argument(help="For example recovery.")],
    subject: Annotated[
        str | None, typer.Option(help="A referral_id or person_id of the build: why they count, step by step.")
    ] = None,
    home: Home = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """What a measure counts: formula, denominator, thresholds, source, version; or why someone counts in it."""

    def work(settings: Any, voice: Any) -> None:
        if subject is not None:
            from caseness.commands.explain_subject import run_explain_subject

            told = run_explain_subject(measure, subject, settings=settings)
            voice.answer(told, text=telling.explain_subject_words(told))
            return
        from caseness.commands.explain import run_explain

        body = run_explain(measure)
        voice.answer(body, text=telling.explain_words(body))

    _perform(context, "explain", home, quiet, json, work, reads_home=subject is not None)


@app.command()
def reconcile(
    context: typer.Context,
    claimed: Annotated[str, typer.Option(help="The claimed rate as it is written, such as 62% or 62.4.")],
    measure: Annotated[str, typer.Option(help="The measure it claims to be.")] = "recovery",
    period: Annotated[str, typer.Option(help="A period of the build, such as fy_2025, or START/END.")] = "all",
    of: Annotated[int | None, typer.Option(min=1, help="The denominator, where the claim states one.")] = None,
    where: Annotated[list[str] | None, typer.Option(help="COLUMN=VALUE, such as service=service_01.")] = None,
    departures: Annotated[
        str, typer.Option(help="Most departures from the official reading at once: a number, or all (slow).")
    ] = "3",
    home: Home = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Which documented readings of the rules give a claimed rate, and what makes up the gap to the official one."""

    def work(settings: Any, voice: Any) -> None:
        from caseness.commands.reconcile import run_reconcile
        from caseness.errors import UsageError

        if departures != "all" and not departures.isdigit():
            raise UsageError("departures is a number, or all", remedy="for example: --departures 3")
        with voice.working("reconcile") as say:
            body = run_reconcile(
                claimed,
                settings=settings,
                measure=measure,
                period=period,
                where=where or (),
                denominator=of,
                most_departures=None if departures == "all" else int(departures),
                progress=say,
            )
        voice.answer(body, text=telling.reconcile_words(body))

    _perform(context, "reconcile", home, quiet, json, work)


@app.command()
def results(
    context: typer.Context,
    measure: Annotated[str | None, typer.Argument(help="A measure, such as recovery; unset: every measure.")] = None,
    period: Annotated[str, typer.Option(help="A period of the build, such as fy_2025.")] = "all",
    by: Annotated[str | None, typer.Option(help="A column of groups, such as sex, age_band or service_code.")] = None,
    home: Home = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """What the build says of a measure in a period, by group where asked; exact counts, not protected."""

    def work(settings: Any, voice: Any) -> None:
        from caseness.commands.results import run_results

        body = run_results(measure, settings=settings, period=period, by=by)
        voice.answer(body, text=telling.results_words(body))

    _perform(context, "results", home, quiet, json, work)


@app.command()
def whatif(
    context: typer.Context,
    changes: Annotated[
        list[str],
        typer.Option("--set", help="NAME=VALUE of a threshold, pathway rule or switch, or with >=, >, <=, <."),
    ],
    measure: Annotated[list[str] | None, typer.Option(help="Only this measure; unset: all that change.")] = None,
    period: Annotated[str, typer.Option(help="A period of the build, such as fy_2025.")] = "all",
    home: Home = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measures as they would be under other thresholds, rules or switches; nothing is ingested or kept."""

    def work(settings: Any, voice: Any) -> None:
        from caseness.commands.whatif import run_whatif

        with voice.working("whatif") as say:
            body = run_whatif(changes, settings=settings, measures=measure or (), period=period, progress=say)
        voice.answer(body, text=telling.whatif_words(body))

    _perform(context, "whatif", home, quiet, json, work)


@app.command()
def token(
    context: typer.Context,
    ids: Annotated[list[str], typer.Argument(help="The sender's codes.")],
    source: Annotated[str, typer.Option(help="Name of the sender, for example fhir.")],
    namespace: Annotated[str | None, typer.Option(help="Identifier namespace, when it is not the source.")] = None,
    key_version: Annotated[int | None, typer.Option(min=1, help="An earlier key's, of before a rotation.")] = None,
    home: Home = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """The pseudonyms of the sender's person codes, for whoever holds the key."""

    def work(settings: Any, voice: Any) -> None:
        import ingestion
        from caseness import journal
        from ingestion.pseudonyms import read_key
        from ingestion.rotation import key_versions_of

        body = ingestion.person_tokens(source, ids, settings=settings, namespace=namespace, key_version=key_version)
        journal.append(settings.paths.journal, "token", source=source, count=len(ids))
        voice.answer(body, text="\n".join(f"{code} {pseudonym}" for code, pseudonym in body.items()))
        space = namespace or source
        entries = ingestion.manifest_entries(settings)
        known = {entry["namespace"] for entry in entries}
        if space not in known:
            heard = ", ".join(sorted(known)) or "none so far"
            voice.warn(f"nobody has delivered as namespace {space!r}, so no row holds these pseudonyms; known: {heard}")
        asked = key_version or read_key(settings).version
        for other in key_versions_of(entries, space):
            if other != asked:
                voice.warn(
                    f"loads of {space!r} stand under key version {other}: --key-version {other} for their tokens"
                )

    _perform(context, "token", home, quiet, json, work)


@app.command()
def withdraw(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="The delivered file, or its sha256.")],
    reason: Annotated[str | None, typer.Option(help="Why: one of the codes that a wrong one lists.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Let the file come again.")] = False,
    home: Home = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Take a delivered file back, before or after it came."""

    def work(settings: Any, voice: Any) -> None:
        from caseness.commands.withdraw import run_withdraw

        body = run_withdraw(file, settings=settings, reason=reason, is_undone=undo)
        if undo:
            text = "the file may come again: deliver it" if body["was_withdrawn"] else "the file was not withdrawn"
        else:
            text = f"withdrawn; {body['loads_withdrawn']} loads taken out. Next: caseness build"
        voice.answer(body, text=text)

    _perform(context, "withdraw", home, quiet, json, work)


@app.command()
def forget(
    context: typer.Context,
    token: Annotated[str, typer.Argument(help="A token of the person; `caseness token` gives it.")],
    reason: Annotated[str, typer.Option(help="erasure, consent_withdrawn or opt_out.")] = "erasure",
    home: Home = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Remove a person, every token linked to theirs and what hangs on them; they stay out."""

    def work(settings: Any, voice: Any) -> None:
        from caseness.commands.forget import run_forget

        with voice.working("forget") as say:
            body = run_forget(token, settings=settings, reason=reason, progress=say).as_dict()
        streams = ", ".join(f"{name} {count:,}" for name, count in sorted(body["rows_by_stream"].items()))
        voice.answer(
            body,
            text=f"{body['rows_removed']:,} rows removed ({streams or 'none'}), {body['parts_rewritten']} parts "
            f"rewritten, {body['people_marked']} tokens marked; "
            + ("the build was made anew\n" if body["was_built_anew"] else "no build held any of them\n")
            + ("" if body["rows_removed"] else "  No row here held this token: is it the right one?\n")
            + "".join(
                f"  CAUTION: loads under key version {version} know the person by another token: forget that as well "
                f"(caseness token --key-version {version} gives it).\n"
                for version in body["other_key_versions"]
            )
            + "  Backups made before still hold the person: make new ones and destroy those.\n"
            "  Releases hold counts, not people; the next one counts without this person.",
        )

    _perform(context, "forget", home, quiet, json, work)


@app.command("rotate-key")
def rotate_key(context: typer.Context, home: Home = None, quiet: Quiet = False, json: Json = False) -> None:
    """Make the next pseudonym key; then every source delivers again."""

    def work(settings: Any, voice: Any) -> None:
        from caseness.commands.rotate_key import run_rotate_key

        body = run_rotate_key(settings=settings).as_dict()
        voice.answer(body, text=telling.rotation_words(body))

    _perform(context, "rotate-key", home, quiet, json, work)


@app.command()
def migrate(context: typer.Context, home: Home = None, quiet: Quiet = False, json: Json = False) -> None:
    """Bring a home of an earlier release to this layout; a copy of what changes stays in the home."""

    def work(settings: Any, voice: Any) -> None:
        from caseness.commands.migrate import run_migrate

        with voice.working("migrate") as say:
            body = run_migrate(settings=settings, progress=say)
        text = "the home has this release's layout: nothing to do"
        if body["saved_as"]:
            text = f"{body['entries_migrated']} loads migrated; the former manifest and journal lie in "
            text += f"{body['saved_as']}\nnext: caseness build"
        voice.answer(body, text=text)

    _perform(context, "migrate", home, quiet, json, work, reads_home=False)


@app.command()
def backup(
    context: typer.Context,
    target: Annotated[Path, typer.Argument(help="A new folder, or a new file that ends in .tar.")],
    with_key: Annotated[bool, typer.Option("--with-key", help="Put the pseudonym key into it.")] = False,
    home: Home = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Save all of the home that cannot be built again, with a hash for every file."""

    def work(settings: Any, voice: Any) -> None:
        from caseness.commands.backup import run_backup

        with voice.working("backup") as say:
            body = run_backup(target, settings=settings, with_key=with_key, progress=say).as_dict()
        key = (
            "  CAUTION: THE PSEUDONYM KEY IS IN IT. Who holds this backup can tell whose rows these are."
            if with_key
            else "  The pseudonym key is NOT in it: keep it apart; without it nothing can be added to a restored home."
        )
        known = f"content hash {body['content_hash']}" if body["content_hash"] else "no content hash: build first"
        voice.answer(body, text=f"{body['files']} files, {body['bytes']:,} bytes, {known}\n{key}")
        if with_key:
            voice.errors.print(key.strip(), markup=False)

    _perform(context, "backup", home, quiet, json, work)


@app.command()
def restore(
    context: typer.Context,
    backup: Annotated[Path, typer.Argument(help="What `caseness backup` made.")],
    home: Home = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Make a new home (--home) of a backup: every hash compared, then built anew from parts and journal."""

    def work(settings: Any, voice: Any) -> None:
        from caseness.commands.backup import run_restore

        with voice.working("restore") as say:
            body = run_restore(backup, settings=settings, progress=say).as_dict()
        if body["is_same"]:
            words = f"content hash {body['content_hash']}, the same as the backup's"
        elif body["content_hash"] and body["content_hash_of_backup"]:
            words = "the definitions of this release differ from the backup's, so the content hashes cannot be compared"
        elif body["content_hash"]:
            words = f"content hash {body['content_hash']}; the backup recorded none"
        else:
            words = "nothing was loaded, so nothing was built"
        if not body["has_key"]:
            words += "\n  The pseudonym key is not in the backup: put it into keys/ before the next ingest."
        voice.answer(body, text=f"{body['files']} files restored to {body['home']}\n  {words}")

    _perform(context, "restore", home, quiet, json, work)


value_sets_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Licensed value sets: load and list.")
app.add_typer(value_sets_app, name="valuesets")


def _value_set_words(body: dict[str, Any]) -> str:
    lines = [
        f"{item['value_set']} {item['oid']}: {item['codes']:,} codes, version {item['version']}"
        for item in body["value_sets"]
    ]
    return "\n".join(lines) or "no value set is loaded"


@value_sets_app.command("load")
def valuesets_load(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="CSV, expanded FHIR ValueSet (JSON), VSAC download (XLSX).")],
    home: Home = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Load expansions that are not shipped, all or none; the same file twice changes nothing."""

    def work(settings: Any, voice: Any) -> None:
        from caseness.commands.valuesets import run_load

        body = run_load(paths, settings=settings)
        done = f"{len(body['loaded'])} loaded, {len(body['already_loaded'])} already loaded. "
        done += "Next: caseness ingest (files that hold codes are read anew), then caseness build\n"
        voice.answer(body, text=done + _value_set_words(body))

    _perform(context, "valuesets load", home, quiet, json, work)


@value_sets_app.command("list")
def valuesets_list(context: typer.Context, home: Home = None, quiet: Quiet = False, json: Json = False) -> None:
    """Value sets that are loaded, with version and number of codes."""

    def work(settings: Any, voice: Any) -> None:
        from caseness.commands.valuesets import run_list

        body = run_list(settings=settings)
        voice.answer(body, text=_value_set_words(body))

    _perform(context, "valuesets list", home, quiet, json, work)


@app.command()
def doctor(context: typer.Context, home: Home = None, quiet: Quiet = False, json: Json = False) -> None:
    """What is missing or misconfigured, in plain words."""

    def work(settings: Any, voice: Any) -> int:
        from caseness.commands import doctor as room

        findings = room.run_doctor(settings=settings)
        words = [
            f"{finding.state:8} {finding.topic}: {finding.says}" + (f" -> {finding.remedy}" if finding.remedy else "")
            for finding in findings
        ]
        body = room.as_dict(findings)
        voice.answer(body, text="\n".join(words))
        return 1 if body["problems"] else 0

    _perform(context, "doctor", home, quiet, json, work, reads_home=False)


def main() -> None:
    """Entry point. Windows is refused before anything that needs POSIX is imported."""
    if sys.platform == "win32":
        print("caseness: Windows is not supported; use Linux, macOS or WSL 2", file=sys.stderr)
        raise SystemExit(2)
    arguments = sys.argv[1:]
    try:
        code = app(arguments, standalone_mode=False)
    except _WrongCallError as error:
        error.show()  # type: ignore[attr-defined]
        if "--json" in arguments:
            from caseness.console import Voice
            from caseness.errors import UsageError

            said = error.format_message().splitlines()  # type: ignore[attr-defined]
            fault = UsageError(said[0] if said else "wrong call", remedy="see caseness --help")
            Voice(quiet=True, as_json=True).tell_fault(fault)
        code = 2
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read our answer has read enough
        code = 1
    raise SystemExit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
