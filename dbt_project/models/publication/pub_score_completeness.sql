with cells as (
    select * from {{ ref('cells_score_completeness') }}
),

profile as (
    select * from {{ ref('disclosure_profiles') }}
    where disclosure_profile = '{{ var("disclosure_profile", "opensafely") }}'
),

final as (
    select
        cells.instrument_code,
        cells.completeness,
        {{ rounded_count('cells.scores_true', 'cells.scores_people') }} as scores_count,
        {{ count_status('cells.scores_true', 'cells.scores_people') }} as scores_status
    from cells
    cross join profile
)

select * from final
