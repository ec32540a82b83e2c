with source as (
    select * from {{ source('raw', 'contact_codes') }}
),

final as (
    select
        contact_id,
        person_token,
        code_role,
        code_system,
        code,
        record_status,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
