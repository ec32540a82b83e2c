with source as (
    select * from {{ source('raw', 'suds_samples') }}
),

final as (
    select
        exposure_id,
        person_token,
        sampled_at,
        suds_value,
        record_status,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
