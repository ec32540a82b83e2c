with source as (
    select * from {{ source('raw', 'service_requests') }}
),

final as (
    select
        service_request_id,
        person_token,
        contact_id,
        request_status,
        request_intent,
        is_do_not_perform,
        authored_at,
        authored_local_date,
        code_system,
        code,
        reason_code_system,
        reason_code,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
