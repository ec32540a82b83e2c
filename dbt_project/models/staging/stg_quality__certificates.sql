with source as (
    select * from {{ source('raw', 'certificates') }}
),

final as (
    select
        certificate_id,
        product_code,
        product_version,
        certificate_scheme,
        certificate_status,
        valid_from_date,
        valid_to_date,
        record_status,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
