with events as (
    select * from {{ ref('stg_app__app_events') }}
),

linked as (
    select * from {{ ref('int_people_linked') }}
),

ranked as (
    select
        events.*,
        row_number() over (partition by events.event_id order by {{ latest_statement_first() }}) as statement_rank
    from events
),

owned as (
    select
        ranked.*,
        coalesce(linked.person_id, ranked.person_token) as person_id,
        min(ranked.occurred_local_date) over (
            partition by coalesce(linked.person_id, ranked.person_token), ranked.product_code
        ) as first_use_date
    from ranked
    left join linked on ranked.person_token = linked.person_token
    where ranked.statement_rank = 1
),

placed as (
    select
        *,
        cast(floor({{ days_between('first_use_date', 'occurred_local_date') }} / 7.0) as integer) as week_of_use
    from owned
),

final as (
    select
        person_id,
        product_code,
        week_of_use,
        min(first_use_date) as first_use_date,
        cast(count(*) as integer) as events_count,
        cast(count(distinct occurred_local_date) as integer) as active_days_count,
        cast(sum(duration_minutes) as integer) as use_minutes,
        cast({{ count_where("event_type = 'mood_check_in'") }} as integer) as mood_check_ins_count
    from placed
    group by person_id, product_code, week_of_use
)

select * from final
