{{ config(tags=["publication"], schema="publication") }}

with source as (
    select * from {{ source('results', 'check_findings') }}
),

final as (
    select
        rule_id,
        table_name,
        check_kind,
        severity,
        status,
        rows_checked,
        rows_failed,
        people_checked,
        people_failed_at_least,
        reason,
        remedy
    from source
)

select * from final
