with source as (
    select * from {{ source('raw', 'sleep_periods') }}
),

final as (
    select
        sleep_period_id,
        person_token,
        device_kind,
        device_id,
        started_at,
        ended_at,
        wake_local_date,
        sleep_kind,
        staging_kind,
        in_bed_minutes,
        asleep_minutes,
        awake_minutes,
        sleep_latency_minutes,
        sleep_efficiency_percent,
        software_version,
        time_zone_basis,
        record_status,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
