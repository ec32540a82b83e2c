with source as (
    select * from {{ source('raw', 'referrals') }}
),

final as (
    select
        referral_id,
        person_token,
        service_code,
        referral_received_date,
        discharge_date,
        discharge_reason,
        problem_code,
        referral_source,
        record_status,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
