{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

{{ coded_records_current(
    'stg_care__procedures', 'procedure_id', 'procedure', 'procedure_status',
    ['code_system', 'code'],
    [
        'contact_id', 'procedure_status', 'performed_start_at', 'performed_local_date', 'performed_end_at',
        'performed_end_local_date', 'code_system', 'code'
    ]
) }}

select * from final
