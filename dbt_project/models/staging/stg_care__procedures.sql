with source as (
    select * from {{ source('raw', 'procedures') }}
),

final as (
    select
        procedure_id,
        person_token,
        contact_id,
        procedure_status,
        performed_start_at,
        performed_local_date,
        performed_end_at,
        performed_end_local_date,
        code_system,
        code,
        not_done_reason_code_system,
        not_done_reason_code,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
