{%- set kinds = ['adolescent', 'adult'] %}
with placed as (
    select * from {{ ref('int_screenings_placed') }}
),

near as (
    select * from {{ ref('int_screens_near_contacts') }}
),

events as (
    select * from {{ ref('int_concept_events') }}
),

-- Which screens are for the person's age at the start of the period.
kinds as (
    {%- for kind in kinds %}
    select
        measure_id,
        period_id,
        period_end,
        person_id,
        contact_id,
        contact_date,
        '{{ kind }}' as screen_kind
    from placed
    where is_for_{{ kind }}_screen
    {{ "union all" if not loop.last }}
    {%- endfor %}
),

-- The most recent screen of all qualifying contacts, so one rank a screen. Of two of one instant the positive counts.
ranked as (
    select
        kinds.measure_id,
        kinds.period_id,
        kinds.person_id,
        kinds.screen_kind,
        near.screened_local_date,
        near.is_negative,
        near.is_positive,
        case when near.follow_up_date <= kinds.period_end then near.follow_up_date end as follow_up_date,
        dense_rank() over (
            partition by kinds.measure_id, kinds.period_id, kinds.person_id, kinds.screen_kind
            order by
                near.screened_at desc,
                case when near.is_positive then 0 when near.is_negative then 2 else 1 end asc,
                near.screen_id asc
        ) as screen_rank
    from kinds
    inner join near on kinds.contact_id = near.contact_id and kinds.screen_kind = near.screen_kind
),

screened as (
    select
        measure_id,
        period_id,
        person_id,
        screen_kind,
        screened_local_date,
        is_negative,
        is_positive,
        min(follow_up_date) as follow_up_date
    from ranked
    where screen_rank = 1
    group by measure_id, period_id, person_id, screen_kind, screened_local_date, is_negative, is_positive
),

-- Cancelled on the day of a qualifying contact, for a reason, and no screen of that kind.
not_done as (
    select distinct
        kinds.measure_id,
        kinds.period_id,
        kinds.person_id,
        kinds.screen_kind,
        kinds.contact_date
    from kinds
    inner join events
        on
            kinds.person_id = events.person_id
            and events.concept = concat(kinds.screen_kind, '_screen_not_done')
            and kinds.contact_date = events.starts_local_date
    left join screened
        on
            kinds.measure_id = screened.measure_id
            and kinds.period_id = screened.period_id
            and kinds.person_id = screened.person_id
            and kinds.screen_kind = screened.screen_kind
    where screened.person_id is null
),

excluded as (
    select
        placed.measure_id,
        placed.period_id,
        placed.person_id,
        min(events.starts_local_date) as onset_date
    from placed
    inner join events
        on
            placed.person_id = events.person_id
            and events.concept = 'bipolar_of_any_status'
            and coalesce(events.starts_local_date < placed.contact_date, true)
    group by placed.measure_id, placed.period_id, placed.person_id
),

met as (
    select
        measure_id,
        period_id,
        person_id,
        {{ any_where('is_negative or (is_positive and follow_up_date is not null)') }} as is_met,
        max(screened_local_date) as screened_local_date,
        {{ any_where('is_positive') }} as is_positive,
        {{ any_where('is_negative') }} as is_negative,
        min(follow_up_date) as follow_up_date
    from screened
    group by measure_id, period_id, person_id
),

declined as (
    select
        measure_id,
        period_id,
        person_id,
        max(contact_date) as declined_date
    from not_done
    group by measure_id, period_id, person_id
),

members as (
    select
        measure_id,
        period_id,
        person_id,
        max(contact_date) as contact_date
    from placed
    group by measure_id, period_id, person_id
),

judged as (
    select
        members.measure_id,
        members.period_id,
        members.person_id,
        members.contact_date,
        excluded.person_id is not null as has_exclusion,
        excluded.onset_date,
        coalesce(met.is_met, false) as is_met,
        met.screened_local_date,
        met.is_positive,
        met.is_negative,
        met.follow_up_date,
        declined.declined_date
    from members
    left join met
        on
            members.measure_id = met.measure_id
            and members.period_id = met.period_id
            and members.person_id = met.person_id
    left join declined
        on
            members.measure_id = declined.measure_id
            and members.period_id = declined.period_id
            and members.person_id = declined.person_id
    left join excluded
        on
            members.measure_id = excluded.measure_id
            and members.period_id = excluded.period_id
            and members.person_id = excluded.person_id
),

-- An exception is looked for where neither an exclusion nor the numerator took the person.
final as (
    select
        measure_id,
        period_id,
        person_id,
        true as has_qualifying_contact,
        has_exclusion,
        declined_date is not null and not has_exclusion and not is_met as has_exception,
        is_met as is_screened_and_followed,
        coalesce(screened_local_date, contact_date) as evidence_date,
        concat(
            'qualifying visit ', cast(contact_date as varchar(10)),
            case
                when screened_local_date is null then ', no screen'
                else concat(
                    ', most recent screen ', cast(screened_local_date as varchar(10)),
                    case when is_positive then ' positive' when is_negative then ' negative' else ' without a finding' end
                )
            end,
            case
                when follow_up_date is not null then concat(', followed up ', cast(follow_up_date as varchar(10)))
                when is_positive then ', no follow-up'
                else ''
            end,
            case
                when declined_date is null then ''
                else concat(', screen not done for a reason on ', cast(declined_date as varchar(10)))
            end,
            case
                when not has_exclusion then ''
                else concat(', bipolar disorder from ', coalesce(cast(onset_date as varchar(10)), 'before'))
            end
        ) as evidence,
        case when has_exclusion then 'bipolar disorder' end as exclusion_reason
    from judged
)

select * from final
