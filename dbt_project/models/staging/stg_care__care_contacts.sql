with source as (
    select * from {{ source('raw', 'care_contacts') }}
),

final as (
    select
        contact_id,
        referral_id,
        person_token,
        contact_at,
        contact_local_date,
        contact_end_at,
        contact_end_local_date,
        attendance_code,
        contact_status,
        is_planned,
        appointment_type,
        modality,
        intensity,
        duration_minutes,
        cost_minor_units,
        currency_code,
        therapist_id,
        record_status,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
