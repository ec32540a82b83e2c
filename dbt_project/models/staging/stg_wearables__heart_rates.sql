with source as (
    select * from {{ source('raw', 'heart_rates') }}
),

final as (
    select
        person_token,
        device_kind,
        device_id,
        measured_at,
        measured_local_date,
        window_seconds,
        heart_rate_bpm,
        heart_rate_context,
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
