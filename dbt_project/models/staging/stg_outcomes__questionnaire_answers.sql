with source as (
    select * from {{ source('raw', 'questionnaire_answers') }}
),

final as (
    select
        response_id,
        person_token,
        referral_id,
        contact_id,
        instrument_code,
        item_number,
        answer_state,
        answer_value,
        answer_value_kind,
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
