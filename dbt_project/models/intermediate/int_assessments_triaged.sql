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

items as (
    select * from {{ ref('int_items_scored') }}
),

rules as (
    select * from {{ ref('triage_rules') }}
),

levels as (
    select distinct
        instrument_code,
        triage_level,
        level_order
    from rules
),

judged as (
    select
        assessments.response_id,
        assessments.instrument_code,
        assessments.person_id,
        rules.level_order,
        coalesce(
            asked.is_answered and {{ meets('asked.scored_value', 'rules.comparator', 'rules.threshold_value') }}, false
        ) as is_met,
        coalesce(asked.is_answered, false) as is_answered,
        -- The form leaves a question out after a no; one that was refused or out of range was not left out.
        coalesce(
            gates.is_answered
            and gates.scored_value < rules.asked_if_at_or_above
            and coalesce(asked.answer_state not in ('answered', 'refused'), true),
            false
        ) as is_left_out
    from assessments
    inner join rules on assessments.instrument_code = rules.instrument_code
    left join items as asked
        on
            assessments.response_id = asked.response_id
            and assessments.instrument_code = asked.instrument_code
            and rules.item_number = asked.item_number
    left join items as gates
        on
            assessments.response_id = gates.response_id
            and assessments.instrument_code = gates.instrument_code
            and rules.asked_if_item = gates.item_number
),

counted as (
    select
        response_id,
        instrument_code,
        person_id,
        max(case when is_met then level_order else 0 end) as level_met,
        max(case when is_answered or is_left_out then 0 else level_order end) as level_open
    from judged
    group by response_id, instrument_code, person_id
),

-- Like a risk item, a form in progress counts: what is answered holds, and what is open could only raise the level.
final as (
    select
        counted.response_id,
        counted.instrument_code,
        counted.person_id,
        case
            when counted.level_open > counted.level_met then 'not_assessable'
            else coalesce(levels.triage_level, 'none')
        end as triage_level
    from counted
    left join levels
        on counted.instrument_code = levels.instrument_code and counted.level_met = levels.level_order
)

select * from final
