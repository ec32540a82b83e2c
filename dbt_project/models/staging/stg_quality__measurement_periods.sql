with source as (
    select * from {{ source('raw', 'measurement_periods') }}
),

final as (
    select
        period_id,
        period_kind,
        period_label,
        period_start,
        period_end,
        -- The build says in the label that the data hold only a part of the period.
        period_label like '%(part)%' as is_partial
    from source
)

select * from final
