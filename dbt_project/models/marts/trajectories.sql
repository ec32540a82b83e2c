{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with assessments as (
    select * from {{ ref('assessments') }}
    {{ where_touched() }}
),

episodes as (
    select * from {{ ref('int_episodes_contacts') }}
    {{ where_touched(of='int_episodes_contacts') }}
),

-- Displayed means take the last valid score of a week; nothing is carried forward into an empty one.
dated as (
    select
        episodes.referral_id,
        episodes.person_id,
        episodes.main_modality,
        assessments.instrument_code,
        assessments.answered_at,
        assessments.answered_local_date,
        assessments.response_id,
        assessments.is_prorated,
        assessments.severity_band,
        coalesce(assessments.total_prorated, assessments.measure_total) as total_prorated,
        {{ days_between('episodes.first_treatment_date', 'assessments.answered_local_date') }} as treatment_day,
        cast(
            floor({{ days_between('episodes.first_treatment_date', 'assessments.answered_local_date') }} / 7.0) as integer
        ) as week_of_treatment
    from assessments
    inner join episodes on assessments.referral_id = episodes.referral_id
    where
        episodes.first_treatment_date is not null
        and assessments.is_score_counted
        and assessments.is_valid
        and coalesce(assessments.total_prorated, assessments.measure_total) is not null
),

ranked as (
    select
        *,
        row_number() over (
            partition by referral_id, instrument_code, week_of_treatment
            order by answered_at desc, response_id desc
        ) as week_rank,
        row_number() over (
            partition by referral_id, instrument_code, case when treatment_day <= 0 then 0 else 1 end
            order by answered_at desc, response_id desc
        ) as baseline_rank
    from dated
),

final as (
    select
        referral_id,
        person_id,
        instrument_code,
        week_of_treatment,
        answered_local_date,
        cast(total_prorated as integer) as total_prorated,
        is_prorated,
        severity_band,
        treatment_day <= 0 and baseline_rank = 1 as is_baseline,
        main_modality
    from ranked
    where week_rank = 1 or (treatment_day <= 0 and baseline_rank = 1)
)

select * from final
