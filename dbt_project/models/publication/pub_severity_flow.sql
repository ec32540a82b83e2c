with cells as (
    select * from {{ ref('cells_severity_flow') }}
),

profile as (
    select * from {{ ref('disclosure_profiles') }}
    where disclosure_profile = '{{ var("disclosure_profile", "opensafely") }}'
),

-- When everyone of a band moves to the same place, the row tells it of each of them, and its zeros would tell it too.
judged as (
    select
        *,
        sum(episodes_true) over from_rows > 0
        and max(episodes_true) over from_rows = sum(episodes_true) over from_rows as is_row_hidden
    from cells
    window from_rows as (partition by instrument_code, from_week, to_week, from_band)
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
