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
        -- How many rows there are stands elsewhere by the rule for counts; here it only tells what a failure is among.
        case
            when {{ quality_status() }} = 'zero' then 0
            when {{ quality_status() }} = 'shown'
                then {{ rounded_half_up('findings.rows_checked', 'profile.quality_rounding_base') }}
                    * profile.quality_rounding_base
        end as rows_checked_about,
        {{ quality_status() }} as rows_checked_status,
        {{ rounded_count('findings.rows_failed', 'findings.people_failed_at_least') }} as rows_failed_count,
        {{ count_status('findings.rows_failed', 'findings.people_failed_at_least') }} as rows_failed_status,
        findings.reason,
        findings.remedy
    from findings
    cross join profile
)

select * from final
