with source as (
    select * from {{ source('raw', 'cybersickness_answers') }}
),

final as (
    select
        exposure_id,
        person_token,
        sickness_instrument,
        measured_when,
        item_number,
        answer_value,
        answered_at,
        record_status,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
