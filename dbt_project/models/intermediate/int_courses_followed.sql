with courses as (
    select * from {{ ref('int_courses_identified') }}
),

totals as (
    select * from {{ ref('int_depression_totals_submitted') }}
    where is_phq9
),

excluded as (
    select * from {{ ref('int_courses_excluded') }}
),

-- The last score of the window counts, and blocks when it has no value. Of two of one instant the worse counts.
ranked as (
    select
        courses.measure_id,
        courses.period_id,
        courses.person_id,
        {{ value_let_in('courses.completeness_policy', 'totals') }} as follow_up_value,
        totals.answered_local_date as follow_up_date,
        sum(case when {{ value_let_in('courses.completeness_policy', 'totals') }} is not null then 1 else 0 end) over (
            partition by courses.measure_id, courses.period_id, courses.person_id
        ) as follow_up_scores_found,
        row_number() over (
            partition by courses.measure_id, courses.period_id, courses.person_id
            order by
                totals.answered_at desc,
                {{ value_let_in('courses.completeness_policy', 'totals') }} desc nulls first,
                totals.score_id
        ) as follow_up_rank
    from courses
    inner join totals
        on
            courses.person_id = totals.person_id
            and totals.answered_local_date >= courses.window_start
            and totals.answered_local_date <= courses.window_end
    where totals.answered_local_date <= {{ as_of_date() }} and {{ is_let_in('courses.completeness_policy', 'totals') }}
),

judged as (
    select
        courses.*,
        ranked.follow_up_date,
        ranked.follow_up_value,
        excluded.exclusion_family,
        excluded.exclusion_date,
        coalesce(
            {{ meets('ranked.follow_up_value', 'courses.remission_score_comparator', 'courses.remission_score') }}, false
        ) as is_in_remission,
        coalesce(
            {{ meets(
                '100.0 * (courses.index_value - ranked.follow_up_value)',
                'courses.response_percent_comparator', 'courses.response_percent * courses.index_value'
            ) }},
            false
        ) as is_response,
        coalesce(
            {{ meets(
                'ranked.follow_up_scores_found', 'courses.follow_up_scores_comparator', 'courses.follow_up_scores'
            ) }},
            false
        ) as has_follow_up_score
    from courses
    left join ranked
        on
            courses.measure_id = ranked.measure_id
            and courses.period_id = ranked.period_id
            and courses.person_id = ranked.person_id
            and ranked.follow_up_rank = 1
    left join excluded
        on
            courses.measure_id = excluded.measure_id
            and courses.period_id = excluded.period_id
            and courses.person_id = excluded.person_id
),

final as (
    select
        measure_id,
        period_id,
        person_id,
        index_date,
        index_value,
        window_start,
        window_end,
        follow_up_date,
        follow_up_value,
        true as has_index,
        exclusion_family is not null as has_exclusion,
        is_in_remission,
        is_response,
        has_follow_up_score,
        index_date as evidence_date,
        concat(
            'index PHQ-9 ', {{ points_in_words('index_value') }}, ' on ', cast(index_date as varchar(10)),
            case
                when follow_up_date is null then ', no follow-up'
                else concat(
                    ', follow-up ', coalesce({{ points_in_words('follow_up_value') }}, 'without a value'),
                    ' on ', cast(follow_up_date as varchar(10))
                )
            end,
            ', window ', cast(window_start as varchar(10)), ' to ', cast(window_end as varchar(10)),
            case
                when exclusion_family is null then ''
                else concat(', ', exclusion_family, ' from ', coalesce(cast(exclusion_date as varchar(10)), 'before'))
            end
        ) as evidence,
        exclusion_family as exclusion_reason
    from judged
)

select * from final
