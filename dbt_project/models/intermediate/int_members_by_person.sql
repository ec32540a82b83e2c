-- A table: as a view among others in measure_members its many joins stop a reader that takes rows one by one.
{{ config(materialized="table") }}
{%- set models = ['int_courses_followed', 'int_screenings_judged', 'int_members_screened', 'int_members_monitored'] %}

with flags as (
    select * from {{ ref('int_person_flags_listed') }}
),

evidence as (
    {%- for model in models %}
    select
        measure_id,
        period_id,
        person_id,
        evidence_date,
        evidence,
        exclusion_reason
    from {{ ref(model) }}
    {{ "union all" if not loop.last }}
    {%- endfor %}
),

measures as (
    select * from {{ ref('measures') }}
    where subject_type = 'person'
),

periods as (
    select * from {{ ref('stg_quality__measurement_periods') }}
),

flagged as (
    select
        measures.measure_id,
        measures.subject_type,
        initials.period_id,
        initials.person_id,
        {{ flag_of('denominators') }} as is_in_denominator,
        {{ flag_of('exclusions') }} as is_denominator_exclusion,
        {{ flag_of('exceptions') }} as is_denominator_exception,
        {{ flag_of('numerators') }} as is_in_numerator
    from measures
    inner join flags as initials
        on
            measures.measure_id = initials.measure_id
            and measures.initial_population_flag = initials.flag_name
            and initials.flag_value
    {%- for alias, column in [
        ('denominators', 'denominator_flag'), ('exclusions', 'denominator_exclusion_flag'),
        ('exceptions', 'denominator_exception_flag'), ('numerators', 'numerator_flag')
    ] %}
    left join flags as {{ alias }}
        on
            measures.measure_id = {{ alias }}.measure_id
            and initials.period_id = {{ alias }}.period_id
            and initials.person_id = {{ alias }}.person_id
            and measures.{{ column }} = {{ alias }}.flag_name
    {%- endfor %}
),

final as (
    select
        flagged.measure_id,
        flagged.subject_type,
        flagged.person_id as subject_id,
        flagged.person_id,
        periods.period_id,
        periods.period_start,
        periods.period_end,
        true as is_in_initial_population,
        flagged.is_in_denominator,
        flagged.is_denominator_exclusion,
        flagged.is_denominator_exception,
        flagged.is_in_numerator and not flagged.is_denominator_exclusion as is_in_numerator,
        evidence.evidence_date,
        evidence.evidence,
        evidence.exclusion_reason
    from flagged
    inner join periods on flagged.period_id = periods.period_id
    inner join evidence
        on
            flagged.measure_id = evidence.measure_id
            and flagged.period_id = evidence.period_id
            and flagged.person_id = evidence.person_id
)

select * from final
