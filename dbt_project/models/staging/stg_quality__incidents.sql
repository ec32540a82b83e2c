with source as (
    select * from {{ source('raw', 'incidents') }}
),

final as (
    select
        incident_id,
        person_token,
        product_code,
        product_version,
        incident_kind,
        incident_severity,
        detected_at,
        detected_local_date,
        notified_at,
        resolved_at,
        record_status,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
