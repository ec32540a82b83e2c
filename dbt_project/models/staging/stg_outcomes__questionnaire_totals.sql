with source as (
    select * from {{ source('raw', 'questionnaire_totals') }}
),

final as (
    select
        response_id,
        person_token,
        referral_id,
        contact_id,
        instrument_code,
        total_value,
        answered_at,
        answered_local_date,
        response_status,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
