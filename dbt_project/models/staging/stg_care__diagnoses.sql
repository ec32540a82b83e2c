with source as (
    select * from {{ source('raw', 'diagnoses') }}
),

final as (
    select
        diagnosis_id,
        person_token,
        contact_id,
        code_system,
        code,
        clinical_status,
        verification_status,
        onset_date,
        abatement_date,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
