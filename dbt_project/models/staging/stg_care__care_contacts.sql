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
        attendance_code,
        is_planned,
        appointment_type,
        modality,
        duration_minutes,
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
