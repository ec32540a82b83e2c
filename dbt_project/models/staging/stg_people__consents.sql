with source as (
    select * from {{ source('raw', 'consents') }}
),

final as (
    select
        consent_id,
        person_token,
        consent_scope,
        consent_decision,
        decided_at,
        decided_local_date,
        expires_date,
        record_status,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
