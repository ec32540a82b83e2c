{{ config(materialized="view") }}
{%- set columns = [
    'measure_id', 'subject_type', 'subject_id', 'person_id', 'period_id', 'period_start', 'period_end',
    'is_in_initial_population', 'is_in_denominator', 'is_denominator_exclusion', 'is_denominator_exception',
    'is_in_numerator', 'evidence_date', 'evidence', 'exclusion_reason'
] %}

with by_referral as (
    select * from {{ ref('int_members_by_referral') }}
),

descriptions as (
    select * from {{ ref('int_episodes_described') }}
),

described as (
    select
        by_referral.*,
        descriptions.evidence
    from by_referral
    inner join descriptions on by_referral.referral_id = descriptions.referral_id
),

at_period_end as (
    select * from {{ ref('int_members_at_period_end') }}
),

by_person as (
    select * from {{ ref('int_members_by_person') }}
),

-- A view: at the size of a country it has a hundred million rows, and measure_results counts them without listing them.
final as (
    {%- for members in ['described', 'at_period_end', 'by_person'] %}
    select {{ columns | join(', ') }} from {{ members }}
    {{ "union all" if not loop.last }}
    {%- endfor %}
)

select * from final
