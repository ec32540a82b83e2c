{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with valued as (
    select * from {{ ref('int_scores_valued') }}
    {{ where_touched(of='int_scores_valued') }}
),

-- Of one instrument and purpose one is in force on a day, which a test of the definitions holds.
thresholds as (
    select * from {{ ref('thresholds') }}
    where is_default and scale_code is null and applies_to_sex is null
),

-- The last valid score of each day; it holds until the next one.
days as (
    select
        *,
        lead(answered_local_date) over (
            partition by referral_id, instrument_code order by answered_local_date
        ) as next_local_date
    from valued
    where is_last_of_day
),

final as (
    select
        days.*,
        {{ meets('days.scaled_score', 'caseness.comparator', 'caseness.threshold_value * days.score_scale') }} as is_at_caseness,
        {{ meets('days.scaled_score', 'remission.comparator', 'remission.threshold_value * days.score_scale') }}
            as is_in_remission,
        {{ days_between('days.answered_local_date', 'days.next_local_date') }} as days_until_next
    from days
    {{ join_threshold('caseness', 'days') }}
    {{ join_threshold('remission', 'days') }}
)

select * from final
