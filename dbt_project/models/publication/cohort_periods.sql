with periods as (
    select * from {{ ref('stg_quality__measurement_periods') }}
),

declared as (
    select * from {{ ref('publication_tables') }}
    where period_kinds is not null
),

-- A kind of period that no declared table names is for the warehouse alone.
final as (
    select
        period_id,
        period_kind,
        period_label,
        period_start,
        period_end
    from periods
    where exists (
        select 1
        from declared
        where {{ has_period_kind('declared.period_kinds', 'periods.period_kind') }}
    )
)

select * from final
