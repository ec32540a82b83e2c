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

scales as (
    select * from {{ ref('instrument_scales') }}
),

scale_items as (
    select * from {{ ref('instrument_scale_items') }}
),

conversions as (
    select * from {{ ref('scale_conversions') }}
),

sizes as (
    select
        instrument_code,
        scale_code,
        count(*) as items_expected
    from scale_items
    group by instrument_code, scale_code
),

counted as (
    select
        items.response_id,
        items.instrument_code,
        scale_items.scale_code,
        {{ count_where('items.is_answered') }} as items_answered,
        {{ sum_where('items.scored_value', 'items.is_answered') }} as answered_sum,
        {{ count_where('items.is_answered and items.scored_value >= scales.symptom_at_or_above') }} as symptom_count
    from items
    inner join scale_items
        on items.instrument_code = scale_items.instrument_code and items.item_number = scale_items.item_number
    inner join scales
        on scale_items.instrument_code = scales.instrument_code and scale_items.scale_code = scales.scale_code
    group by items.response_id, items.instrument_code, scale_items.scale_code
),

joined as (
    select
        assessments.response_id,
        assessments.instrument_code,
        assessments.person_id,
        assessments.answered_local_date,
        assessments.response_status,
        assessments.items_invalid,
        scales.scale_code,
        scales.definition_version,
        scales.conversion,
        scales.multiplier,
        scales.minimum_items_answered,
        scales.minimum_symptoms,
        sizes.items_expected,
        coalesce(counted.items_answered, 0) as items_answered,
        coalesce(counted.answered_sum, 0) as answered_sum,
        coalesce(counted.symptom_count, 0) as symptom_count,
        assessments.items_invalid = 0 and assessments.response_status <> 'in_progress' as may_be_scored,
        -- A total without answers is worth what its answers would be, where the scale is of the whole form.
        case
            when
                assessments.measure_total_basis = 'submitted'
                and assessments.answered_sum is null
                and sizes.items_expected = assessments.items_expected
                then assessments.measure_total
        end as submitted_raw
    from assessments
    inner join scales on assessments.instrument_code = scales.instrument_code
    inner join sizes on scales.instrument_code = sizes.instrument_code and scales.scale_code = sizes.scale_code
    left join counted
        on
            assessments.response_id = counted.response_id
            and assessments.instrument_code = counted.instrument_code
            and scales.scale_code = counted.scale_code
),

-- The raw score as a fraction: whole where every answer is there, else the mean of those there times the items.
based as (
    select
        *,
        case
            when submitted_raw is not null then 'submitted'
            when may_be_scored and items_answered >= minimum_items_answered then 'derived'
            else 'none'
        end as score_basis,
        case
            when submitted_raw is not null then cast(submitted_raw as integer)
            when items_answered = items_expected then answered_sum
            else answered_sum * items_expected
        end as raw_numerator,
        case when submitted_raw is not null or items_answered = items_expected then 1 else items_answered end
            as raw_denominator
    from joined
),

converted as (
    select
        based.*,
        case
            when based.score_basis = 'none' then null
            when based.conversion = 'multiplied' then based.raw_numerator * based.multiplier
            else conversions.score_numerator
        end as score_numerator,
        case
            when based.score_basis = 'none' then null
            when based.conversion = 'multiplied' then based.raw_denominator
            else conversions.score_denominator
        end as score_denominator
    from based
    left join conversions
        on
            based.instrument_code = conversions.instrument_code
            and based.scale_code = conversions.scale_code
            and based.raw_denominator = 1
            and based.raw_numerator = conversions.raw_score
),

final as (
    select
        response_id,
        instrument_code,
        person_id,
        answered_local_date,
        response_status,
        scale_code,
        definition_version,
        items_expected,
        items_answered,
        answered_sum,
        score_basis,
        score_numerator,
        score_denominator,
        {{ rounded_half_up(hundredths('score_numerator'), 'score_denominator') }} as score_hundredths,
        score_basis = 'derived' and items_answered < items_expected as is_prorated,
        minimum_symptoms,
        case when may_be_scored and items_answered = items_expected and minimum_symptoms is not null then symptom_count end
            as symptom_count,
        case when may_be_scored and items_answered = items_expected then symptom_count >= minimum_symptoms end
            as has_enough_symptoms
    from converted
)

select * from final
