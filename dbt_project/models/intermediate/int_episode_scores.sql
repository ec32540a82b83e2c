{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with assessments as (
    select * from {{ ref('int_assessments_assigned') }}
    {{ where_touched(of='int_assessments_assigned') }}
),

contacts as (
    select * from {{ ref('int_episodes_contacts') }}
    {{ where_touched(of='int_episodes_contacts') }}
),

-- A submitted total stands under either policy; where items alone arrived, each policy says what they come to.
totalled as (
    select
        assessments.referral_id,
        assessments.person_id,
        assessments.is_after_discharge,
        assessments.is_follow_up,
        assessments.is_score_counted,
        assessments.instrument_code,
        assessments.response_id,
        assessments.answered_at,
        assessments.answered_local_date,
        assessments.is_valid,
        assessments.measure_total as total_by_policy,
        case
            when assessments.measure_total_basis = 'submitted' then assessments.measure_total
            else assessments.total_prorated
        end as total_prorated,
        assessments.measure_total_hundredths as hundredths_by_policy,
        case
            when assessments.measure_total_basis = 'submitted' then assessments.measure_total_hundredths
            else {{ hundredths('assessments.total_prorated') }}
        end as hundredths_prorated
    from assessments
    where assessments.referral_id is not null and assessments.response_status <> 'in_progress'
),

-- Totals with decimals are whole in hundredths only. A form with neither a total nor a fault says nothing; one with a fault is an attempt, which blocks a last score.
final as (
    select
        totalled.referral_id,
        totalled.person_id,
        totalled.instrument_code,
        totalled.response_id,
        totalled.answered_at,
        totalled.answered_local_date,
        totalled.is_after_discharge,
        totalled.is_follow_up,
        totalled.is_score_counted,
        coalesce(totalled.answered_local_date <= contacts.first_treatment_date, false) as is_by_first_treatment,
        totalled.is_valid,
        cast(case when totalled.is_valid then totalled.total_by_policy end as integer) as measure_total_complete_case,
        cast(case when totalled.is_valid then totalled.total_prorated end as integer) as measure_total_prorated,
        case when totalled.is_valid then totalled.hundredths_by_policy end as measure_hundredths_complete_case,
        case when totalled.is_valid then totalled.hundredths_prorated end as measure_hundredths_prorated
    from totalled
    left join contacts on totalled.referral_id = contacts.referral_id
    where
        totalled.hundredths_by_policy is not null
        or totalled.hundredths_prorated is not null
        or not totalled.is_valid
)

select * from final
