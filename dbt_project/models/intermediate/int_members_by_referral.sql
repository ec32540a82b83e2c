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

anchors as (
    select * from {{ ref('int_episode_anchors_listed') }}
),

courses as (
    select * from {{ ref('int_courses_of_therapy') }}
),

measures as (
    select * from {{ ref('measures') }}
    where measure_family = 'nhs_tt'
),

periods as (
    select * from {{ ref('stg_quality__measurement_periods') }}
),

-- What a measure counts: referrals, or the courses of therapy within them, which carry the flags of their referral.
subjects as (
    select
        'referral' as subject_type,
        referral_id as subject_id,
        referral_id
    from episodes
    union all
    select
        'course_of_therapy' as subject_type,
        course_of_therapy_id as subject_id,
        referral_id
    from courses
),

placed as (
    select
        measures.measure_id,
        measures.subject_type,
        measures.period_anchor,
        measures.period_kinds,
        measures.denominator_flag,
        measures.denominator_exclusion_flag,
        measures.denominator_exception_flag,
        measures.numerator_flag,
        flags.referral_id,
        flags.person_id
    from measures
    inner join flags on measures.initial_population_flag = flags.flag_name and flags.flag_value
    where measures.period_anchor <> 'period_end'
),

flagged as (
    select {{ flagged_columns() }}
    from placed
    {{ join_flags(['referral_id']) }}
),

final as (
    select
        flagged.measure_id,
        flagged.subject_type,
        subjects.subject_id,
        flagged.person_id,
        periods.period_id,
        periods.period_start,
        periods.period_end,
        true as is_in_initial_population,
        flagged.is_in_denominator,
        flagged.is_denominator_exclusion,
        flagged.is_denominator_exception,
        flagged.is_in_numerator and not flagged.is_denominator_exclusion as is_in_numerator,
        anchors.anchor_date as evidence_date,
        concat(
            'PHQ-9 ', coalesce(cast(paired.phq9_first as varchar(5)), 'none'),
            ' to ', coalesce(cast(paired.phq9_last as varchar(5)), 'none'),
            ', ', paired.anxiety_instrument_code,
            ' ', coalesce({{ points_in_words('paired.anxiety_first') }}, 'none'),
            ' to ', coalesce({{ points_in_words('paired.anxiety_last') }}, 'none'),
            ', days to first treatment ', coalesce(cast(episodes.days_to_first_treatment as varchar(8)), 'none'),
            ', ', episodes.caseness_status, ', ', episodes.change_class
        ) as evidence,
        case when flagged.is_denominator_exclusion then flagged.denominator_exclusion_flag end as exclusion_reason
    from flagged
    inner join subjects
        on flagged.referral_id = subjects.referral_id and flagged.subject_type = subjects.subject_type
    inner join anchors
        on flagged.referral_id = anchors.referral_id and flagged.period_anchor = anchors.period_anchor
    inner join episodes on flagged.referral_id = episodes.referral_id
    inner join paired on flagged.referral_id = paired.referral_id
    inner join periods
        on
            anchors.anchor_date >= periods.period_start
            and anchors.anchor_date <= periods.period_end
            and concat('+', flagged.period_kinds, '+') like concat('%+', periods.period_kind, '+%')
    where {{ is_computable('periods.period_kind') }}
)

select * from final
