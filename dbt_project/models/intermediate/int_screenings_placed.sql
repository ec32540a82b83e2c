{%- set kinds = ['adolescent', 'adult'] %}
with events as (
    select * from {{ ref('int_concept_events') }}
),

people as (
    select * from {{ ref('int_people_current') }}
),

parameters as (
    select
        measure_id,
        period_kinds,
        {{ parameter('minimum_age') }} as minimum_age,
        {{ parameter_comparator('minimum_age') }} as minimum_age_comparator,
        {%- for kind in kinds %}
        {{ parameter(kind ~ '_screen_age') }} as {{ kind }}_screen_age,
        {{ parameter_comparator(kind ~ '_screen_age') }} as {{ kind }}_screen_age_comparator{{ "," if not loop.last }}
        {%- endfor %}
    from {{ ref('int_measure_parameters_chosen') }}
    where period_anchor = 'qualifying_contact'
    group by measure_id, period_kinds
),

periods as (
    select * from {{ ref('stg_quality__measurement_periods') }}
    where {{ is_computable('period_kind') }}
),

contacts as (
    select * from events
    where concept = 'screening_contact' and ends_local_date <= {{ as_of_date() }}
),

final as (
    select
        parameters.measure_id,
        periods.period_id,
        periods.period_end,
        contacts.person_id,
        contacts.record_id as contact_id,
        contacts.starts_local_date as contact_date,
        {%- for kind in kinds %}
        {{ meets(
            age_in_years('people.birth_date', 'periods.period_start'),
            'parameters.' ~ kind ~ '_screen_age_comparator', 'parameters.' ~ kind ~ '_screen_age'
        ) }} as is_for_{{ kind }}_screen{{ "," if not loop.last }}
        {%- endfor %}
    from contacts
    inner join people on contacts.person_id = people.person_id
    inner join periods
        on contacts.starts_local_date >= periods.period_start and contacts.ends_local_date <= periods.period_end
    inner join parameters on {{ has_period_kind('parameters.period_kinds', 'periods.period_kind') }}
    where {{ meets(
        age_in_years('people.birth_date', 'periods.period_start'), 'parameters.minimum_age_comparator',
        'parameters.minimum_age'
    ) }}
)

select * from final
