with findings as (
    select * from {{ ref('stg_quality__check_findings') }}
),

profile as (
    select * from {{ ref('disclosure_profiles') }}
    where disclosure_profile = '{{ var("disclosure_profile", "opensafely") }}'
),

final as (
    select
        findings.rule_id,
        findings.table_name,
        findings.check_kind,
        findings.severity,
        findings.status,
        {{ rounded_count('findings.rows_checked', 'findings.people_checked') }} as rows_checked_count,
        {{ count_status('findings.rows_checked', 'findings.people_checked') }} as rows_checked_status,
        {{ rounded_count('findings.rows_failed', 'findings.people_failed_at_least') }} as rows_failed_count,
        {{ count_status('findings.rows_failed', 'findings.people_failed_at_least') }} as rows_failed_status,
        findings.reason,
        findings.remedy
    from findings
    cross join profile
)

select * from final
