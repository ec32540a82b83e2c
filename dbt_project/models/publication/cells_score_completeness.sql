with assessments as (
    select * from {{ ref('assessments') }}
),

instruments as (
    select * from {{ ref('instruments') }}
),

judged as (
    select
        instrument_code,
        person_id,
        'complete' as completeness
    from assessments
    where total_complete_case is not null
    union all
    select
        instrument_code,
        person_id,
        'prorated' as completeness
    from assessments
    where is_prorated
    union all
    select
        instrument_code,
        person_id,
        'total_only' as completeness
    from assessments
    where total_prorated is null and items_answered = 0 and measure_total_basis = 'submitted'
    union all
    select
        instrument_code,
        person_id,
        'all' as completeness
    from assessments
),

counted as (
    select
        instrument_code,
        completeness,
        count(*) as scores_true,
        count(distinct person_id) as scores_people
    from judged
    group by instrument_code, completeness
),

kinds as (
    {%- for kind in ['all', 'complete', 'prorated', 'total_only'] %}
    select '{{ kind }}' as completeness
    {{ "union all" if not loop.last }}
    {%- endfor %}
),

final as (
    select
        instruments.instrument_code,
        kinds.completeness,
        coalesce(counted.scores_true, 0) as scores_true,
        coalesce(counted.scores_people, 0) as scores_people
    from instruments
    cross join kinds
    left join counted
        on instruments.instrument_code = counted.instrument_code and kinds.completeness = counted.completeness
)

select * from final
