with source as (
    select * from {{ source('raw', 'wearable_daily') }}
),

final as (
    select
        person_token,
        local_date,
        device_kind,
        steps,
        resting_heart_rate_bpm,
        sleep_minutes,
        wear_minutes,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
