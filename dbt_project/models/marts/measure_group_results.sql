{{ config(materialized="view") }}
{%- set of_referrals = [
    'sex', 'age_band', 'ethnic_group', 'imd_quintile', 'rurality', 'main_modality', 'service_code',
    'severity_band_first', 'payer_category', 'main_product'
] %}
{%- set of_people = ['sex', 'ethnic_group', 'imd_quintile', 'rurality'] %}

with results as (
    select * from {{ ref('measure_results') }}
),

measures as (
    select * from {{ ref('measures') }}
),

by_referral as (
    select * from {{ ref('int_members_by_referral') }}
),

at_period_end as (
    select * from {{ ref('int_members_at_period_end') }}
),

by_person as (
    select * from {{ ref('int_members_by_person') }}
),

referrals as (
    select * from {{ ref('referral_groups') }}
),

people as (
    select
        person_id,
        coalesce(sex, 'not recorded') as sex,
        coalesce(ethnic_group, 'not recorded') as ethnic_group,
        coalesce(cast(imd_quintile as varchar(60)), 'not recorded') as imd_quintile,
        coalesce(rurality, 'not recorded') as rurality
    from {{ ref('people') }}
),

quantiles as (
    select * from {{ ref('stg_quality__interval_quantiles') }}
    where rule_id = 'confidence_level'
),

-- A person stands once in the groups of a measure of people, whatever their referrals say.
members as (
    {%- for source, groups, columns, key in [
        ('by_referral', 'referrals', of_referrals, 'referral_id'),
        ('at_period_end', 'referrals', of_referrals, 'referral_id'),
        ('by_person', 'people', of_people, 'person_id')
    ] %}
    {%- set is_last_source = loop.last %}
    {%- for column in columns %}
    select
        {{ source }}.measure_id,
        {{ source }}.period_id,
        '{{ column }}' as group_dimension,
        {{ groups }}.{{ column }} as group_value,
        {{ source }}.is_in_denominator,
        {{ source }}.is_denominator_exclusion or {{ source }}.is_denominator_exception as is_left_out,
        {{ source }}.is_in_numerator
    from {{ source }}
    inner join {{ groups }} on {{ source }}.{{ key }} = {{ groups }}.{{ key }}
    {{ "union all" if not (loop.last and is_last_source) }}
    {%- endfor %}
    {%- endfor %}
),

counted as (
    select
        measure_id,
        period_id,
        group_dimension,
        group_value,
        count(*) as initial_population_count,
        {{ count_where('is_in_denominator') }} as stated_denominator_count,
        {{ count_where('is_in_denominator and is_left_out') }} as denominator_exclusion_count,
        {{ count_where('is_in_denominator and is_in_numerator') }} as numerator_count
    from members
    group by measure_id, period_id, group_dimension, group_value
),

group_values as (
    {%- for column in of_referrals %}
    select distinct
        false as is_of_people,
        '{{ column }}' as group_dimension,
        {{ column }} as group_value
    from referrals
    union all
    {%- endfor %}
    {%- for column in of_people %}
    select distinct
        true as is_of_people,
        '{{ column }}' as group_dimension,
        {{ column }} as group_value
    from people
    {{ "union all" if not loop.last }}
    {%- endfor %}
),

-- Every value in every result of its kind, so that an empty cell is a row and not a gap. What the whole is, its parts are:
-- where it cannot be told, or is told without a rate, no group says more.
listed as (
    select
        results.measure_id,
        results.period_id,
        results.period_start,
        results.period_end,
        group_values.group_dimension,
        group_values.group_value,
        results.result_status <> 'not_computable' as is_computable,
        results.result_status <> 'partial_period' as is_rate_told,
        coalesce(counted.initial_population_count, 0) as initial_population_count,
        coalesce(counted.stated_denominator_count, 0) as stated_denominator_count,
        coalesce(counted.denominator_exclusion_count, 0) as denominator_exclusion_count,
        coalesce(counted.numerator_count, 0) as numerator_count
    from results
    inner join measures on results.measure_id = measures.measure_id
    inner join group_values on (measures.subject_type = 'person') = group_values.is_of_people
    left join counted
        on
            results.measure_id = counted.measure_id
            and results.period_id = counted.period_id
            and group_values.group_dimension = counted.group_dimension
            and group_values.group_value = counted.group_value
),

final as (
    select
        measure_id,
        period_id,
        period_start,
        period_end,
        group_dimension,
        group_value,
        {{ result_columns('is_computable and is_rate_told') }},
        {{ rate_bound_columns('is_computable and is_rate_told') }},
        case
            when not is_computable then 'not_computable'
            when stated_denominator_count - denominator_exclusion_count = 0 then 'no_denominator'
            when not is_rate_told then 'partial_period'
            else 'computed'
        end as result_status
    from listed
    cross join quantiles
)

select * from final
