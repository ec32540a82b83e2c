{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

{%- set kinds = ['adolescent', 'adult'] %}
with events as (
    select * from {{ ref('int_concept_events') }}
    {{ where_touched(of='int_concept_events') }}
),

parameters as (
    select
        {{ parameter('screen_days_before_contact') }} as screen_days_before_contact,
        {{ parameter('follow_up_days_after_contact') }} as follow_up_days_after_contact
    from {{ ref('int_measure_parameters_chosen') }}
    where period_anchor = 'qualifying_contact'
),

contacts as (
    select * from events
    where concept = 'screening_contact'
),

kinds as (
    {%- for kind in kinds %}
    select '{{ kind }}' as screen_kind
    {{ "union all" if not loop.last }}
    {%- endfor %}
),

-- The days count from the end of the screen; which is the most recent is decided later, over all contacts.
screens as (
    select
        kinds.screen_kind,
        contacts.person_id,
        contacts.record_id as contact_id,
        contacts.starts_at as contact_starts_at,
        contacts.starts_local_date as contact_date,
        contacts.ends_at as contact_ends_at,
        contacts.ends_local_date as contact_end_date,
        screens.record_id as screen_id,
        screens.ends_at as screened_at,
        screens.ends_local_date as screened_local_date
    from contacts
    cross join parameters
    cross join kinds
    inner join events as screens
        on
            contacts.person_id = screens.person_id
            and screens.concept = concat(kinds.screen_kind, '_screen')
            and screens.has_value
            and screens.ends_local_date <= contacts.starts_local_date
            and screens.ends_local_date
            >= {{ days_after('contacts.starts_local_date', '-parameters.screen_days_before_contact') }}
),

-- Requests count by the day, procedures to the minute.
follow_ups as (
    select
        screens.contact_id,
        screens.screen_id,
        min(events.starts_local_date) as follow_up_date
    from screens
    cross join parameters
    inner join events
        on
            screens.person_id = events.person_id
            and (
                (
                    events.concept = concat(screens.screen_kind, '_request')
                    and events.starts_local_date >= screens.contact_end_date
                    and events.starts_local_date
                    <= {{ days_after('screens.contact_end_date', 'parameters.follow_up_days_after_contact') }}
                )
                or (
                    events.concept = concat(screens.screen_kind, '_procedure')
                    and events.starts_at >= screens.contact_starts_at
                    and events.starts_at <= screens.contact_ends_at
                )
            )
    group by screens.contact_id, screens.screen_id
),

final as (
    select
        screens.person_id,
        screens.contact_id,
        screens.contact_date,
        screens.contact_end_date,
        screens.screen_kind,
        screens.screen_id,
        screens.screened_at,
        screens.screened_local_date,
        negatives.record_id is not null as is_negative,
        positives.record_id is not null as is_positive,
        follow_ups.follow_up_date
    from screens
    left join events as negatives
        on
            screens.person_id = negatives.person_id
            and screens.screen_id = negatives.record_id
            and negatives.concept = concat(screens.screen_kind, '_screen_negative')
    left join events as positives
        on
            screens.person_id = positives.person_id
            and screens.screen_id = positives.record_id
            and positives.concept = concat(screens.screen_kind, '_screen_positive')
    left join follow_ups
        on screens.contact_id = follow_ups.contact_id and screens.screen_id = follow_ups.screen_id
)

select * from final
