"""What a person reads at the end of a command: the same facts as ``--json``, in lines of bounded number."""

from __future__ import annotations

from typing import Any

_MOST_GROUPS = 20
_NAMES_TOLD = 3
_CONSEQUENCES = {
    "row_quarantined": "held back",
    "field_made_missing": "the field was made missing, the row is admitted",
    "file_refused": "the whole file is refused, nothing of it is in any figure",
}
ASK_QUARANTINE = "caseness quarantine"


def _some(names: list[str]) -> str:
    told = ", ".join(names[:_NAMES_TOLD])
    return told if len(names) <= _NAMES_TOLD else f"{told} and {len(names) - _NAMES_TOLD} more"


def ingest_words(body: dict[str, Any]) -> str:
    """What came in, what was refused, what was held back and why, and what to do about it."""
    again = f" ({body['files_refused_before']} of them before, too)" if body["files_refused_before"] else ""
    count = body["files_withdrawn"]
    withdrawn = f"withdrawn before and left out {count} (`caseness withdraw --undo` lets them in), " if count else ""
    lines = [
        f"rows in {body['rows_in']:,} = admitted {body['rows_admitted']:,} + quarantined {body['rows_quarantined']:,}; "
        f"files loaded {body['files_loaded']}, already loaded {body['files_already_loaded']}, {withdrawn}"
        f"refused {body['files_refused']}{again}, unrecognised {len(body['files_unrecognised'])}"
    ]
    lines += [
        f"  {source['source']}: rows in {source['rows_in']:,}, admitted {source['rows_admitted']:,}, "
        f"quarantined {source['rows_quarantined']:,}"
        for source in body["sources"]
    ]
    lines += _refusal_words(body["problems"])
    lines += _fault_words(body["faults"])
    if body["files_unrecognised"]:
        lines.append(f"  unrecognised (left alone): {_some(body['files_unrecognised'])}")
        lines.append(
            "    what to do: name a file after its stream (docs/data_dictionary.md), or write a source.yml for it"
        )
    if body["positive_risk_items_held_back"]:
        lines.append(
            f"  CAUTION: {body['positive_risk_items_held_back']} quarantined rows carry a positive risk item (item 9)"
        )
    for note in body["notes"]:
        lines += [f"  NOTE: {note['message']}", f"    what to do: {note['remedy']}"]
    return "\n".join(lines)


def _refusal_words(problems: list[dict[str, Any]]) -> list[str]:
    """Refusals, those of one cause together."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for problem in problems:
        cause = tuple(problem.get(key) for key in ("row", "column", "message", "rule", "remedy"))
        groups.setdefault(cause, []).append(str(problem["file"]))
    lines = []
    for (row, column, message, rule, remedy), files in list(groups.items())[:_MOST_GROUPS]:
        place = ", ".join(f"{name} {value}" for name, value in (("row", row), ("column", column)) if value is not None)
        lines.append(f"  refused: {_some(files)}{f' ({place})' if place else ''}: {message or rule}")
        if remedy:
            lines.append(f"    what to do: {remedy}")
    if len(groups) > _MOST_GROUPS:
        lines.append(f"  and {len(groups) - _MOST_GROUPS} more causes; --json lists them all")
    return lines


def _fault_words(faults: list[dict[str, Any]]) -> list[str]:
    """Faults by file, rule and column; records outside the contract last, in one line."""
    told = [fault for fault in faults if fault["consequence"] != "not_read"]
    outside = [fault for fault in faults if fault["consequence"] == "not_read"]
    lines = [line for fault in told[:_MOST_GROUPS] for line in _one_fault(fault)]
    if len(told) > _MOST_GROUPS:
        lines.append(f"  and {len(told) - _MOST_GROUPS} more kinds of fault; --json lists them all")
    if told:
        lines.append(f"  every faulty row: {ASK_QUARANTINE}")
    if outside:
        rows, files = sum(fault["rows"] for fault in outside), len({fault["file"] for fault in outside})
        lines.append(
            f"  not_contracted: {rows:,} records in {files} files lie outside the contract and were not read. "
            "This is harmless: nothing is to be done"
        )
    return lines


def _one_fault(fault: dict[str, Any]) -> list[str]:
    first = ", ".join(str(number) for number in fault["first_rows"])
    rest = ", ..." if fault["rows"] > len(fault["first_rows"]) else ""
    column = f"column {fault['column']}: " if fault["column"] else ""
    where = f" ({first}{rest})" if first else ""
    what = f"{fault['rows']:,} {'row' if fault['rows'] == 1 else 'rows'}{where}"
    return [
        f"  {fault['file']}: {column}{fault['rule']} in {what}: {_CONSEQUENCES[fault['consequence']]}",
        f"    what to do: {fault['remedy']}",
    ]


def check_words(body: dict[str, Any]) -> str:
    """What the quality rules found."""
    lines = [
        f"{body['rules_checked']} rules: {body['passed']} passed, {body['failed']} failed, "
        f"{body['not_applicable']} not applicable, {body['errors']} could not run"
    ]
    for finding in body["findings"]:
        if finding["status"] in ("failed", "error"):
            lines.append(
                f"  {finding['severity']}: {finding['rule_id']}: {finding['reason']} ({finding['rows_failed']} rows)"
            )
            lines.append(f"    what to do: {finding['remedy']}")
    for note in body["notes"]:
        lines += [f"  NOTE: {note['message']}", f"    what to do: {note['remedy']}"]
    return "\n".join(lines)


def publish_words(body: dict[str, Any]) -> str:
    """What was published and what the attacker found."""
    audit = body["audit"]
    headline, already = audit["headline"], audit["known_from_earlier_releases_alone"]
    means = audit["beside"]["protected_means"]
    again = " (published before; made current again)" if body.get("was_published_before") else ""
    accuracy = (
        f"{headline['measures_shown']} of {headline['measures_of']} rates of the whole service over all days, within "
        f"{headline['greatest_possible_rate_error_percentage_points']} percentage points, "
        f"counts within {headline['greatest_possible_count_error']}"
        if headline["measures_shown"]
        else "no rate is shown"
    )
    return (
        f"release {body['release_id']} under profile {body['disclosure_profile']}{again}\n"
        f"  audit: {audit['protected_cells']:,} hidden counts and {means:,} means attacked, "
        f"with {len(audit['earlier_releases_attacked'])} earlier releases: {audit['recovered_exactly']} recovered, "
        f"{audit['recovered_within_one']} within one, {audit['unanswered']} unanswered, {audit['seconds']} s\n"
        + (f"  known from earlier releases alone: {already:,}\n" if already else "")
        + f"  headline: {accuracy}\n"
        f"  dropped by the audit: {', '.join(body['dropped']) or 'nothing'}"
    )


def run_words(body: dict[str, Any]) -> str:
    """What the whole way did."""
    found = body["build"]["rows"]
    return "\n".join(
        (
            ingest_words(body["ingest"]),
            f"build {body['build']['build_id']}: " + ", ".join(f"{name} {count:,}" for name, count in found.items()),
            check_words(body["check"]),
            publish_words(body["publish"]),
        )
    )


def rotation_words(body: dict[str, Any]) -> str:
    """Which key is in force, what stands under earlier ones, and what to do about it."""
    lines = [f"pseudonym key version {body['key_version']} is in force"]
    waiting = body["loads_under_earlier_keys"]
    if waiting:
        loads = ", ".join(f"{namespace} {count}" for namespace, count in waiting.items())
        lines.append(
            f"  loads under earlier keys: {loads}. Once a namespace has loads under both, build waits for the rest"
        )
        lines.append(f"    what to do: {'; '.join(body['next_steps'])}")
    else:
        lines.append("  no load stands under an earlier key: nothing has to be delivered again")
    lines.append("  Keep the earlier keys: by them people who were forgotten are recognised and stay out.")
    return "\n".join(lines)


def quarantine_words(rows: list[dict[str, Any]]) -> str:
    """Faults by source, file and rule, the file named by its hash."""
    if not rows:
        return "nothing is quarantined"
    lines = []
    for row in rows:
        lines.append(f"{row['source']}, {row['file_label']} file {row['source_file_sha256']} (load {row['load_id']})")
        for fault in row["faults"]:
            lines += _one_fault({**fault, "file": fault["stream"]}) if fault["consequence"] != "not_read" else []
        outside = sum(fault["rows"] for fault in row["faults"] if fault["consequence"] == "not_read")
        if outside:
            lines.append(f"  not_contracted: {outside:,} records, not read; this is harmless")
    return "\n".join(
        [*lines, "sha256sum FILE says which file has which hash; row numbers count from 1 after the header"]
    )


def _figure_words(body: dict[str, Any]) -> list[str]:
    def one(name: str) -> str:
        return str(body[f"{name}_count"]) if body[f"{name}_count"] is not None else str(body[f"{name}_status"])

    if body["denominator_status"] in ("zero", "not_applicable"):
        told = "nobody in this group"
    elif body["denominator_status"] == "suppressed":
        told = "hidden by the disclosure rule: too few courses"
    elif body["rate_percent"] is None:
        told = f"hidden by the disclosure rule: few of {one('denominator')} courses have it, or few have it not"
    else:
        told = f"{body['rate_percent']} %: {one('numerator')} of {one('denominator')} courses"
    return [told, f"  figure: {body['figure']}"]


def _view_words(body: dict[str, Any]) -> str:
    filters = ", ".join(f"{column}={value}" for column, value in body["where"].items()) or "the whole service"
    return f"{filters}, period {body['period_id']}"


def cohort_words(body: dict[str, Any]) -> str:
    """A figure with its counts, or the nearest that are published."""
    lines = [f"{body['measure_id']}: {_view_words(body)}"]
    if body["is_published"]:
        lines += _figure_words(body)
    else:
        lines.append(f"{body['says']}: {body['why']}")
        for near in body["nearest"]:
            first, *rest = _figure_words(near)
            lines += [f"nearest: {_view_words(near)}: {first}", *rest]
    lines.append(f"release {body['release_id']}, disclosure profile {body['disclosure_profile']}; counts are rounded")
    return "\n".join(lines)


def score_words(body: dict[str, Any]) -> str:
    """A scored sheet: one fact a line, then a line for each scale and for each rule that does not decide by default."""
    parts = ("scales", "judgements")
    lines = [f"{name.replace('_', ' ')}: {_told(value)}" for name, value in body.items() if name not in parts]
    for scale in body.get("scales", ()):
        exact, of = scale["score_numerator"], scale["score_denominator"]
        score = "none" if exact is None else f"{exact / of:.2f} ({exact}/{of})"
        facts = [f"score {score}", f"answered {scale['items_answered']} of {scale['items_expected']}"]
        facts += [f"band {scale['severity_band']}"] if scale["severity_band"] else []
        if scale["symptom_count"] is not None:
            enough = "enough" if scale["has_enough_symptoms"] else "too few"
            facts.append(f"symptoms {scale['symptom_count']}, {enough}")
        lines.append(f"scale {scale['scale_code']}: {', '.join(facts)}")
    for rule in body.get("judgements", ()):
        says = rule["severity_band"] if rule["purpose"] == "severity" else rule["is_met"]
        lines.append(f"not by default, {rule['purpose'].replace('_', ' ')} by {rule['authority']}: {_told(says)}")
    return "\n".join(lines)


def _told(value: Any) -> Any:
    return "none" if value is None else value


def trace_words(body: dict[str, Any]) -> str:
    """A figure and everything behind it, the nearest first."""
    about, made = body["release"], body["definition"]
    lines = [f"figure: {body['figure']}"]
    lines += [f"  {name}: {value}" for name, value in body["row"].items() if value is not None]
    if made:
        lines.append(f"definition: {made.get('name', '')}, version {made['definition_version']}, {made['source']}")
    lines += [
        f"table: {body['table']}, made by {body['made_by']}; file {body['scope']}",
        f"release: {about['release_id']}, data up to {about['as_of_date']}, caseness {about['code_version']}, "
        f"profile {about['disclosure_profile']} ({body['disclosure_rule'].get('description', '')})",
        f"definitions: {body['definitions_hash']}",
        f"build: {body['build_id']}",
        f"files: {len(body['inputs'])}",
    ]
    lines += [f"  {one['source_file_sha256']} {one['source']} {one['stream']}" for one in body["inputs"]]
    return "\n".join(lines)


def reconcile_words(body: dict[str, Any]) -> str:
    """The official figure, the readings that give the claim, and what makes up the gap."""
    official, gap = body["official"], body["gap_percentage_points"]
    of = f" of {body['claimed_denominator']:,}" if body["claimed_denominator"] is not None else ""
    group = f", {' and '.join(body['where'])}" if body["where"] else ""
    depth = "any number of" if body["most_departures"] is None else f"at most {body['most_departures']}"
    lines = [
        f"claimed: {body['claimed_percent']:.{body['claimed_to_digits']}f} %{of} ({body['measure_id']}), "
        f"{body['period_start']} to {body['period_end']}{group}; build {body['build_id']}",
        f"official reading: {_rate_words(official)}"
        + ("" if gap is None else f"; the claim is {abs(gap):.1f} points {'above' if gap >= 0 else 'below'} it"),
        *(
            [f"(this build's own results stand on other switches: {body['pathway_switches_of_the_build']})"]
            if body["pathway_switches_of_the_build"] != "default"
            else []
        ),
        f"computed: {body['readings_computed']:,} readings ({depth} departures from the official one), "
        + (
            f"from {body['lowest_percent']:.1f} to {body['highest_percent']:.1f} %"
            if body["lowest_percent"] is not None
            else "none of which has anybody in its denominator"
        ),
        f"give the claim: {body['readings_that_give_it']:,}"
        + (
            ", those of which no part gives it already (the others add departures that change nothing):"
            if body["simplest_that_give_it"]
            else ""
        ),
    ]
    for number, reading in enumerate(body["simplest_that_give_it"], start=1):
        lines += _reading_words(str(number), reading)
    if body["simplest_not_told"]:
        lines.append(f"  and {body['simplest_not_told']:,} more of this kind")
    if body["nearest"]:
        lines.append("no documented reading gives it; the nearest:")
        for number, reading in enumerate(body["nearest"], start=1):
            lines += _reading_words(str(number), reading)
    return "\n".join([*lines, f"caution: {body['caution']}"])


def _rate_words(figure: dict[str, Any]) -> str:
    if figure["rate_percent"] is None:
        return "nobody is in the denominator"
    return (
        f"{figure['rate_percent']:.1f} % = {figure['numerator']:,} of {figure['denominator']:,} "
        f"(95 % interval {figure['rate_lower_percent']:.1f} to {figure['rate_upper_percent']:.1f})"
    )


def _reading_words(number: str, reading: dict[str, Any]) -> list[str]:
    lines = [f"  {number}. {_rate_words(reading)}" + ("" if reading["departures"] else ": the official reading")]
    for one in reading["departures"]:
        points = one["contribution_percentage_points"]
        share = "points not defined" if points is None else f"{points:+.1f} points"
        lines.append(f"     {share}: {one['about']} [{one['dimension']}: {one['reading']}; {one['source']}]")
    return lines


def whatif_words(body: dict[str, Any]) -> str:
    """What changes, and by how much, beside what stays."""
    lines = [
        f"build {body['build_id']}, period {body['period_id']}, if "
        + " and ".join(f"{one['name']} were {one['is']} (it is {one['was']})" for one in body["changes"])
    ]
    for row in body["measures"]:
        gap = row["difference_percentage_points"]
        moved = "" if gap is None else f" ({gap:+.1f} points)"
        lines.append(
            f"  {row['measure_id']}: {_plain_rate(row['as_it_is'])} -> {_plain_rate(row['as_it_would_be'])}{moved}"
        )
    lines.append(
        f"  of all {body['measures_of_the_period']} measures of the period {body['measures_changed']} would change; "
        "nothing was kept"
    )
    return "\n".join(lines)


def _plain_rate(result: dict[str, Any]) -> str:
    if result["rate_percent"] is None:
        return str(result["result_status"]).replace("_", " ")
    return f"{result['rate_percent']:.1f} % = {result['numerator_count']:,} of {result['denominator_count']:,}"


def _reading(row: dict[str, Any]) -> str:
    """What a result was computed with that its number does not show: turned switches, lists of exclusions not read."""
    said = []
    if row.get("pathway_switches", "not_applicable") not in ("default", "not_applicable"):
        said.append(f"switches: {row['pathway_switches']}")
    if row.get("exclusion_list_status") in ("not_read", "read_in_part"):
        said.append(f"exclusions {str(row['exclusion_list_status']).replace('_', ' ')}")
    return f" [{'; '.join(said)}]" if said else ""


def results_words(body: dict[str, Any]) -> str:
    """Rates with their intervals and counts, a line for each measure or group; then the whole they are parts of."""
    about = f"{body['name']} ({body['measure_id']})" if body["measure_id"] else "every measure"
    period = f"{body['period_id']}, {body['period_start']} to {body['period_end']}"
    lines = [f"{about}, period {period}, data to {body['as_of_date']}, build {body['build_id']}"]
    if body["formula"]:
        lines.append(f"  counted: {body['formula']}")
    key = "group_value" if body["by"] else "measure_id"
    rows = [(str(row[key]), row) for row in body["rows"]]
    if body["whole"]:
        rows.append(("all", body["whole"]))
    width = max((len(name) for name, _ in rows), default=0)
    level = f"{100 * body['confidence_level']:g} %"
    for name, row in rows:
        between = ""
        if row["rate_percent"] is not None:
            bounds = f"{row['rate_lower_percent']:.1f} to {row['rate_upper_percent']:.1f}"
            between = f" ({level} {body['interval_method']} interval {bounds})"
        elif row["denominator_count"]:
            between = f": {row['numerator_count']:,} of {row['denominator_count']:,} so far"
        left_out = f", {row['denominator_exclusion_count']:,} left out" if row["denominator_exclusion_count"] else ""
        lines.append(f"  {name:{width}}  {_plain_rate(row)}{between}{left_out}{_reading(row)}")
    lines.append("exact counts of the warehouse: not protected against disclosure; what may be shown is in a release")
    return "\n".join(lines)


def explain_words(body: dict[str, Any]) -> str:
    """The definition of a measure, a line each."""
    lines = []
    for name, value in body.items():
        if isinstance(value, list):
            if not value:
                continue
            lines.append(f"{name.replace('_', ' ')}:")
            lines += ["  " + ", ".join(str(part) for part in item.values() if part) for item in value]
        else:
            lines.append(f"{name.replace('_', ' ')}: {'none' if value is None else value}")
    return "\n".join(lines)


def explain_subject_words(body: dict[str, Any]) -> str:
    """From someone's rows to their place in a measure."""
    lines = [f"{body['name']} ({body['measure_id']}, version {body['definition_version']}): {body['formula']}"]
    for subject in body["subjects"]:
        lines.append(f"{subject['subject_type']} {subject['subject_id']}, build {body['build_id']}")
        for number, step in enumerate(subject["steps"], start=1):
            lines.append(f"  {number}. {step['step']}: {step['says']}")
            lines += ["       " + ", ".join(f"{name} {value}" for name, value in row.items()) for row in step["rows"]]
        for place in subject["counts"]:
            period = f"{place['period_id']}: " if place["period_id"] else ""
            said = f" [{place['evidence']}]" if place.get("evidence") and not subject["steps"] else ""
            lines.append(f"  => {period}{place['counts_as']}{said}")
    if body["subjects_not_told"]:
        lines.append(f"and {body['subjects_not_told']} more; --json holds no more of them either: ask for one")
    return "\n".join(lines)
