{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with totals as (
    select * from {{ ref('int_totals_current') }}
    {{ where_touched(of='int_totals_current') }}
),

assessments_assigned as (
    select * from {{ ref('int_assessments_assigned') }}
    {{ where_touched(of='int_assessments_assigned') }}
),

-- A form without items has none that is missing.
assessments as (
    select
        response_id,
        instrument_code,
        items_answered < items_expected as has_missing_items
    from assessments_assigned
    where answered_sum is not null
),

events as (
    select * from {{ ref('int_concept_events') }}
    {{ where_touched(of='int_concept_events') }}
),

instruments as (
    select * from {{ ref('instruments') }}
),

concepts as (
    select * from {{ ref('measure_concepts') }}
),

tools as (
    select value_sets.code
    from concepts
    inner join {{ ref('int_value_sets_resolved') }} as value_sets
        on concepts.value_set = value_sets.value_set and value_sets.code_system = 'loinc'
    where concepts.concept = 'phq9_total'
),

-- The greatest range of the tools is that of an observation, which does not say which of them it is.
tool_range as (
    select
        min(instruments.total_min) as total_min,
        max(instruments.total_max) as total_max
    from instruments
    inner join tools on instruments.loinc_total = tools.code
),

-- Totals as their sender stated them. What the warehouse makes of answers is no submitted total and never stands here.
as_totals as (
    select
        totals.person_id,
        totals.response_id as score_id,
        totals.instrument_code,
        tools.code is not null as is_phq9,
        cast(totals.total_value as double) as total_value,
        totals.answered_at,
        totals.answered_local_date,
        instruments.total_min,
        instruments.total_max,
        coalesce(assessments.has_missing_items, false) as has_missing_items
    from totals
    inner join instruments on totals.instrument_code = instruments.instrument_code
    inner join concepts
        on
            concepts.concept = 'depression_total'
            and {{ is_listed('totals.response_status', 'concepts.statuses') }}
    left join tools on instruments.loinc_total = tools.code
    left join assessments
        on
            totals.response_id = assessments.response_id
            and totals.instrument_code = assessments.instrument_code
    where instruments.measures_what = 'depression'
),

-- The door keeps as observations what has no value or is of no instrument it knows.
as_observations as (
    select
        events.person_id,
        events.record_id as score_id,
        cast(null as varchar(40)) as instrument_code,
        true as is_phq9,
        events.value_number as total_value,
        events.starts_at as answered_at,
        events.starts_local_date as answered_local_date,
        tool_range.total_min,
        tool_range.total_max,
        false as has_missing_items
    from events
    cross join tool_range
    where events.concept = 'phq9_total'
),

stated as (
    select * from as_totals
    union all
    select * from as_observations
),

final as (
    select
        person_id,
        score_id,
        instrument_code,
        is_phq9,
        total_value,
        answered_at,
        answered_local_date,
        has_missing_items,
        coalesce(total_value = floor(total_value), true) as is_whole_number,
        coalesce(total_value between total_min and total_max, false) as is_in_range
    from stated
)

select * from final
