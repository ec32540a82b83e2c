with source as (
    select * from {{ source('raw', 'record_deletions') }}
),

final as (
    select
        record_kind,
        record_id,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
