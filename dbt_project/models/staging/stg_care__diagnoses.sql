with source as (
    select * from {{ source('raw', 'diagnoses') }}
),

final as (
    select
        diagnosis_id,
        person_token,
        contact_id,
        diagnosis_category,
        code_system,
        code,
        clinical_status,
        verification_status,
        recorded_date,
        onset_date,
        onset_at,
        abatement_date,
        abatement_at,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
