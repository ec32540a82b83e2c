with source as (
    select * from {{ source('raw', 'measurement_periods') }}
),

final as (
    select
        period_id,
        period_kind,
        period_label,
        period_start,
        period_end
    from source
)

select * from final
