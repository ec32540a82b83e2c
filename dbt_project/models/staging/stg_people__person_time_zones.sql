with source as (
    select * from {{ source('raw', 'person_time_zones') }}
),

final as (
    select
        person_token,
        time_zone,
        time_zone_basis,
        valid_from_at,
        record_status,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
