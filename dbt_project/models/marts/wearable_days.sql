with days as (
    select * from {{ ref('stg_wearables__wearable_days') }}
),

linked as (
    select * from {{ ref('int_people_linked') }}
),

ranked as (
    select
        *,
        row_number() over (
            partition by person_token, local_date, device_kind order by {{ latest_statement_first() }}
        ) as statement_rank
    from days
),

final as (
    select
        coalesce(linked.person_id, ranked.person_token) as person_id,
        ranked.local_date,
        ranked.device_kind,
        max(ranked.steps) as steps,
        min(ranked.resting_heart_rate_bpm) as resting_heart_rate_bpm,
        max(ranked.sleep_minutes) as sleep_minutes,
        max(ranked.wear_minutes) as wear_minutes
    from ranked
    left join linked on ranked.person_token = linked.person_token
    where ranked.statement_rank = 1
    group by coalesce(linked.person_id, ranked.person_token), ranked.local_date, ranked.device_kind
)

select * from final
