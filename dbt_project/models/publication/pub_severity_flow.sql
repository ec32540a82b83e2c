with cells as (
    select * from {{ ref('cells_severity_flow') }}
),

profile as (
    select * from {{ ref('disclosure_profiles') }}
    where disclosure_profile = '{{ var("disclosure_profile", "opensafely") }}'
),

final as (
    select
        cells.instrument_code,
        cells.from_week,
        cells.to_week,
        cells.from_band,
        cells.to_band,
        {{ rounded_count('cells.episodes_true', 'cells.episodes_people') }} as episodes_count,
        {{ count_status('cells.episodes_true', 'cells.episodes_people') }} as episodes_status
    from cells
    cross join profile
)

select * from final
