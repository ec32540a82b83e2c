{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

{{ coded_records_current(
    'stg_care__coded_observations', 'observation_id', 'observation', 'observation_status',
    ['code_system', 'code'],
    [
        'contact_id', 'observation_status', 'code_system', 'code', 'value_code_system', 'value_code', 'is_value_true',
        'value_number', 'effective_at', 'effective_local_date', 'effective_end_at', 'effective_end_local_date',
        'issued_at', 'issued_local_date', 'not_done_reason_code_system', 'not_done_reason_code'
    ]
) }}

select * from final
