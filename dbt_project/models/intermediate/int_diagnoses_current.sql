{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

{{ coded_records_current(
    'stg_care__diagnoses', 'diagnosis_id', 'diagnosis', 'verification_status',
    ['code_system', 'code'],
    [
        'contact_id', 'diagnosis_category', 'code_system', 'code', 'clinical_status', 'verification_status',
        'recorded_date', 'onset_date', 'onset_at', 'abatement_date', 'abatement_at'
    ]
) }}

select * from final
