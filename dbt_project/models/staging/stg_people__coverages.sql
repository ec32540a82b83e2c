with source as (
    select * from {{ source('raw', 'coverages') }}
),

final as (
    select
        coverage_id,
        person_token,
        payer_category,
        plan_kind,
        coverage_status,
        coverage_start_date,
        coverage_end_date,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
