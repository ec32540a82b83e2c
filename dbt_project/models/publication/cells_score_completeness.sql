{%- set kinds = ['all', 'complete', 'prorated', 'total_only'] %}
with assessments as (
    select * from {{ ref('assessments') }}
),

instruments as (
    select * from {{ ref('instruments') }}
),

-- A person's answers are many; each counts as a score, and the person once.
by_person as (
    select
        instrument_code,
        person_id,
        count(*) as all_scores,
        {{ count_where('total_complete_case is not null') }} as complete_scores,
        {{ count_where('is_prorated') }} as prorated_scores,
        {{ count_where(
            "total_prorated is null and items_answered = 0 and measure_total_basis = 'submitted'"
        ) }} as total_only_scores
    from assessments
    group by instrument_code, person_id
),

together as (
    select
        instrument_code,
        {%- for kind in kinds %}
        sum({{ kind }}_scores) as {{ kind }}_scores,
        {{ count_where('person_id is not null and ' ~ kind ~ '_scores > 0') }} as {{ kind }}_people
        {{- ',' if not loop.last }}
        {%- endfor %}
    from by_person
    group by instrument_code
),

counted as (
    {%- for kind in kinds %}
    select
        instrument_code,
        '{{ kind }}' as completeness,
        {{ kind }}_scores as scores_true,
        {{ kind }}_people as scores_people
    from together
    {{ "union all" if not loop.last }}
    {%- endfor %}
),

kinds as (
    {%- for kind in kinds %}
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
