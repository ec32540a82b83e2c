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
        {{ rounded_count('findings.rows_checked', 'findings.rows_checked') }} as rows_checked_count,
        {{ count_status('findings.rows_checked', 'findings.rows_checked') }} as rows_checked_status,
        {{ rounded_count('findings.rows_failed', 'findings.rows_failed') }} as rows_failed_count,
        {{ count_status('findings.rows_failed', 'findings.rows_failed') }} as rows_failed_status,
        findings.reason,
        findings.remedy
    from findings
    cross join profile
)

select * from final
