with source as (
    select * from {{ source('raw', 'heart_rate_variability') }}
),

final as (
    select
        person_token,
        device_kind,
        device_id,
        hrv_metric,
        measured_at,
        measured_local_date,
        window_seconds,
        hrv_milliseconds,
        measurement_context,
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
