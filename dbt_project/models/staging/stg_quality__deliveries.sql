with source as (
    select * from {{ source('raw', 'deliveries') }}
),

final as (
    select
        load_id,
        source_name,
        namespace,
        stream,
        file_label,
        load_status,
        source_file_sha256,
        contract_version,
        period_start,
        period_end,
        rows_in,
        rows_admitted,
        rows_quarantined,
        loaded_at
    from source
)

select * from final
