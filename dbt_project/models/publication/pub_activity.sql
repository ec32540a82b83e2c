with cells as (
    select * from {{ ref('cells_activity') }}
),

profile as (
    select * from {{ ref('disclosure_profiles') }}
    where disclosure_profile = '{{ var("disclosure_profile", "opensafely") }}'
),

final as (
    select
        cells.period_id,
        cells.period_kind,
        cells.period_label,
        cells.period_start,
        cells.period_end,
        cells.stage,
        {{ rounded_count('cells.episodes_true', 'cells.episodes_people') }} as episodes_count,
        {{ count_status('cells.episodes_true', 'cells.episodes_people') }} as episodes_status
    from cells
    cross join profile
)

select * from final
