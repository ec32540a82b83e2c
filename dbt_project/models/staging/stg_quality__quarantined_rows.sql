with source as (
    select * from {{ source('raw', 'quarantined_rows') }}
),

final as (
    select
        load_id,
        source_name,
        stream,
        source_row_number,
        column_name,
        rule,
        remedy,
        is_row_quarantined
    from source
)

select * from final
