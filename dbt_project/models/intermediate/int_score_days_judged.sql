{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with valued as (
    select * from {{ ref('int_scores_valued') }}
    {{ where_touched() }}
),

thresholds as (
    select * from {{ ref('thresholds') }}
    where is_default and scale_code is null
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

judged as (
    select
        days.response_id,
        days.instrument_code,
        max(
            case
                when thresholds.purpose = 'caseness'
                    then case
                        when {{ meets('days.scaled_score', 'thresholds.comparator', 'thresholds.threshold_value * days.score_scale') }}
                            then 1
                        else 0
                    end
            end
        ) as at_caseness,
        max(
            case
                when thresholds.purpose = 'remission'
                    then case
                        when {{ meets('days.scaled_score', 'thresholds.comparator', 'thresholds.threshold_value * days.score_scale') }}
                            then 1
                        else 0
                    end
            end
        ) as in_remission
    from days
    inner join thresholds
        on
            days.instrument_code = thresholds.instrument_code
            and days.answered_local_date >= thresholds.valid_from
            and days.answered_local_date <= coalesce(thresholds.valid_to, days.answered_local_date)
    group by days.response_id, days.instrument_code
),

final as (
    select
        days.*,
        judged.at_caseness = 1 as is_at_caseness,
        judged.in_remission = 1 as is_in_remission,
        {{ days_between('days.answered_local_date', 'days.next_local_date') }} as days_until_next
    from days
    left join judged
        on days.response_id = judged.response_id and days.instrument_code = judged.instrument_code
)

select * from final
