"""The findings as one self-contained page: nothing is loaded from anywhere, status is a word before it is a colour."""

from __future__ import annotations

from jinja2 import Environment

from expectations.checking import CheckReport

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>caseness: what the deliveries are worth</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1d1d1b;background:#fff}
table{border-collapse:collapse;width:100%}caption{text-align:left;font-weight:600;padding:.5rem 0}
th,td{border-bottom:1px solid #b1b4b6;padding:.4rem .6rem;text-align:left;vertical-align:top}td.n{text-align:right}
.s{font-weight:600}.failed .s,.error .s{color:#801650}.passed .s{color:#12436D}.not_applicable .s{color:#3D3D3D}
.wide{overflow-x:auto}small{color:#3D3D3D}
</style></head><body>
<h1>What the deliveries are worth</h1>
<p>Build {{ report.build_id }}. {{ report.findings|length }} rules: {{ report.count("passed") }} passed,
{{ report.count("failed") }} failed, {{ report.count("not_applicable") }} not applicable,
{{ report.count("error") }} could not run.
{% if report.fatal_failed %}<strong>Publication is stopped by: {{ report.fatal_failed|join(", ") }}.</strong>
{% else %}No fatal rule failed: the build may be published.{% endif %}</p>
{% for note in report.notes %}<p><strong>Note:</strong> {{ note.message }}.
<small>What to do: {{ note.remedy }}.</small></p>
{% endfor %}<div class="wide"><table><caption>Findings, failures first. Counts are rows;
record-level values are never shown.</caption>
<thead><tr><th scope="col">Status</th><th scope="col">Severity</th><th scope="col">Rule</th><th scope="col">Where</th>
<th scope="col">Failed</th><th scope="col">Checked</th><th scope="col">Allowed</th>
<th scope="col">Why, and what to do</th></tr>
</thead><tbody>
{% for f in findings %}<tr class="{{ f.status }}"><td class="s">{{ f.status.replace("_", " ") }}</td>
<td>{{ f.severity }}</td>
<td>{{ f.rule_id.replace("_", " ") }}</td><td>{{ f.table_name }}<br>
<small>{{ f.column_name.replace(";", ", ") }}</small></td>
<td class="n">{{ "not counted" if f.rows_failed is none else "{:,}".format(f.rows_failed) }}</td>
<td class="n">{{ "none" if not f.rows_checked else "{:,}".format(f.rows_checked) }}</td>
<td class="n">{{ "%g %%"|format(100 * f.threshold_share) }}</td>
<td>{{ f.reason }}. <small>For example: {{ f.example }}. What to do: {{ f.remedy }}.</small></td></tr>
{% endfor %}</tbody></table></div></body></html>
"""
_ORDER = ("error", "failed", "passed", "not_applicable")


def page(report: CheckReport) -> str:
    """The page as HTML."""
    findings = sorted(report.findings, key=lambda finding: _ORDER.index(finding.status))
    return Environment(autoescape=True).from_string(_PAGE).render(report=report, findings=findings)
