{{ config(materialized="view") }}

with episodes as (
    select * from {{ ref('int_episodes_flagged') }}
),

paired as (
    select * from {{ ref('int_episodes_paired') }}
),

flags as (
    select * from {{ ref('int_episode_flags_listed') }}
),

measures as (
    select * from {{ ref('measures') }}
    where subject_type = 'referral' and period_anchor = 'discharge_date'
),

periods as (
    select * from {{ ref('stg_quality__measurement_periods') }}
),

placed as (
    select
        measures.measure_id,
        measures.subject_type,
        measures.period_kinds,
        measures.denominator_flag,
        measures.denominator_exclusion_flag,
        measures.denominator_exception_flag,
        measures.numerator_flag,
        flags.referral_id,
        flags.person_id
    from measures
    inner join flags on measures.initial_population_flag = flags.flag_name and flags.flag_value
),

flagged as (
    select
        placed.*,
        denominators.flag_value as is_in_denominator,
        coalesce(exclusions.flag_value, false) as is_denominator_exclusion,
        coalesce(exceptions.flag_value, false) as is_denominator_exception,
        numerators.flag_value as is_in_numerator
    from placed
    inner join flags as denominators
        on placed.referral_id = denominators.referral_id and placed.denominator_flag = denominators.flag_name
    inner join flags as numerators
        on placed.referral_id = numerators.referral_id and placed.numerator_flag = numerators.flag_name
    left join flags as exclusions
        on placed.referral_id = exclusions.referral_id and placed.denominator_exclusion_flag = exclusions.flag_name
    left join flags as exceptions
        on placed.referral_id = exceptions.referral_id and placed.denominator_exception_flag = exceptions.flag_name
),

final as (
    select
        flagged.measure_id,
        flagged.subject_type,
        flagged.referral_id as subject_id,
        flagged.person_id,
        periods.period_id,
        periods.period_start,
        periods.period_end,
        true as is_in_initial_population,
        flagged.is_in_denominator,
        flagged.is_denominator_exclusion,
        flagged.is_denominator_exception,
        flagged.is_in_numerator and not flagged.is_denominator_exclusion as is_in_numerator,
        episodes.discharge_date as evidence_date,
        concat(
            'PHQ-9 ', coalesce(cast(paired.phq9_first as varchar(5)), 'none'),
            ' to ', coalesce(cast(paired.phq9_last as varchar(5)), 'none'),
            ', GAD-7 ', coalesce(cast(paired.gad7_first as varchar(5)), 'none'),
            ' to ', coalesce(cast(paired.gad7_last as varchar(5)), 'none'),
            ', days to first treatment ', coalesce(cast(episodes.days_to_first_treatment as varchar(8)), 'none'),
            ', ', episodes.caseness_status, ', ', episodes.change_class
        ) as evidence,
        case when flagged.is_denominator_exclusion then flagged.denominator_exclusion_flag end as exclusion_reason
    from flagged
    inner join episodes on flagged.referral_id = episodes.referral_id
    inner join paired on flagged.referral_id = paired.referral_id
    inner join periods
        on episodes.discharge_date >= periods.period_start and episodes.discharge_date <= periods.period_end
        and concat('+', flagged.period_kinds, '+') like concat('%+', periods.period_kind, '+%')
    -- A discharge after the day the data speak for has not happened yet.
    where episodes.discharge_date <= {{ as_of_date() }}
    and {{ is_computable('periods.period_kind') }}
)

select * from final
