with source as (
    select * from {{ source('raw', 'activity_periods') }}
),

final as (
    select
        person_token,
        device_kind,
        device_id,
        activity_kind,
        started_at,
        started_local_date,
        ended_at,
        steps,
        active_minutes,
        distance_metres,
        active_energy_kilocalories,
        activity_intensity,
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
