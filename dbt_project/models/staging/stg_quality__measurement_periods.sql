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
        -- The data hold only a part of it: the build says so in the label, and a user's own may end after them.
        period_label like '%(part)%' or period_end > {{ as_of_date() }} as is_partial
    from source
)

select * from final
