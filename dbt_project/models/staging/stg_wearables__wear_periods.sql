with source as (
    select * from {{ source('raw', 'wear_periods') }}
),

final as (
    select
        person_token,
        device_kind,
        device_id,
        started_at,
        started_local_date,
        ended_at,
        wear_basis,
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
