{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

{{ coded_records_current(
    'stg_care__contact_codes', 'contact_id', 'contact', 'record_status',
    ['code_role', 'code_system', 'code'],
    [
        'code_role', 'code_system', 'code'
    ]
) }}

select * from final
