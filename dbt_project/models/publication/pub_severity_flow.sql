with cells as (
    select * from {{ ref('cells_severity_flow') }}
),

profile as (
    select * from {{ ref('disclosure_profiles') }}
    where disclosure_profile = '{{ var("disclosure_profile", "opensafely") }}'
),

-- When nearly everyone of a band moves to the same place, the row tells it of each of them, and its zeros tell it too.
judged as (
    select
        cells.*,
        sum(cells.episodes_true) over from_rows > 0
        and least(cells.others_true, cells.others_people) <= profile.all_or_none_margin as is_row_hidden
    from cells
    cross join profile
    window from_rows as (partition by cells.instrument_code, cells.from_week, cells.to_week, cells.from_band)
),

final as (
    select
        cells.instrument_code,
        cells.from_week,
        cells.to_week,
        cells.from_band,
        cells.to_band,
        {{ rounded_count('cells.episodes_true', 'cells.episodes_people', 'cells.is_row_hidden') }} as episodes_count,
        {{ count_status('cells.episodes_true', 'cells.episodes_people', 'cells.is_row_hidden') }} as episodes_status
    from judged as cells
    cross join profile
)

select * from final
