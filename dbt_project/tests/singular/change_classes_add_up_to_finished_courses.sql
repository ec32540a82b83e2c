-- Improved, deteriorated, unchanged and not assessable are the finished courses, each once.
with episodes as (
    select * from {{ ref('episodes') }}
),

counted as (
    select
        {{ count_where('has_finished_course') }} as finished,
        {{ count_where('is_reliably_improved') }} as improved,
        {{ count_where('is_reliably_deteriorated') }} as deteriorated,
        {{ count_where('has_no_reliable_change') }} as unchanged,
        {{ count_where("has_finished_course and change_class = 'not_assessable'") }} as not_assessable
    from episodes
),

final as (
    select * from counted
    where finished <> improved + deteriorated + unchanged + not_assessable
)

select * from final
