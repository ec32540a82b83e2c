{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

{{ coded_records_current(
    'stg_care__medications', 'medication_request_id', 'medication_request', 'request_status',
    ['code_system', 'code'],
    [
        'contact_id', 'request_status', 'request_intent', 'is_do_not_perform', 'authored_at', 'authored_local_date',
        'code_system', 'code'
    ]
) }}

select * from final
