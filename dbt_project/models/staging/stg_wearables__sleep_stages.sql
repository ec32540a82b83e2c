with source as (
    select * from {{ source('raw', 'sleep_stages') }}
),

final as (
    select
        sleep_period_id,
        person_token,
        sleep_stage,
        started_at,
        ended_at,
        record_status,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
