with source as (
    select * from {{ source('raw', 'coded_observations') }}
),

final as (
    select
        observation_id,
        person_token,
        contact_id,
        observation_status,
        observation_category,
        code_system,
        code,
        value_code_system,
        value_code,
        is_value_true,
        value_number,
        value_absent_reason,
        effective_at,
        effective_local_date,
        effective_end_at,
        effective_end_local_date,
        issued_at,
        issued_local_date,
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
