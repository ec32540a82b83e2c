{{ config(materialized="ephemeral") }}

with responses as (
    select * from {{ ref('int_responses_current') }}
),

items as (
    select * from {{ ref('int_items_scored') }}
),

instruments as (
    select * from {{ ref('instruments') }}
),

policies as (
    select * from {{ ref('completeness_policies') }}
),

statuses as (
    select * from {{ ref('risk_item_statuses') }}
),

counted as (
    select
        response_id,
        instrument_code,
        {{ count_where('is_answered') }} as items_answered,
        {{ count_where('is_invalid') }} as items_invalid,
        {{ count_where("answer_state = 'refused'") }} as items_refused,
        {{ count_where("answer_state = 'not_applicable'") }} as items_not_applicable,
        {{ count_where('is_out_of_the_form') }} as items_out_of_the_form,
        sum(case when is_answered then scored_value else 0 end) as answered_sum,
        min(risk_item_precedence) as risk_item_precedence
    from items
    group by response_id, instrument_code
),

needed as (
    select
        instruments.instrument_code,
        max(case when policies.policy_code = 'complete_case' then policies.minimum_items_answered end) as complete_items,
        max(case when policies.method = 'prorate' then policies.minimum_items_answered end) as prorate_items,
        max(
            case when policies.policy_code = instruments.nhs_measure_policy then policies.minimum_items_answered end
        ) as measure_items
    from instruments
    left join policies on instruments.instrument_code = policies.instrument_code
    group by instruments.instrument_code
),

joined as (
    select
        responses.*,
        instruments.definition_version,
        instruments.item_count,
        instruments.total_min,
        -- An item that does not apply to a person (work, to who has none) takes its share of the greatest total away.
        instruments.total_max - coalesce(counted.items_out_of_the_form, 0) * instruments.item_max
            as greatest_possible_total,
        instruments.has_total,
        instruments.total_decimals,
        instruments.caseness_value,
        instruments.nhs_measure_total,
        needed.complete_items,
        needed.prorate_items,
        needed.measure_items,
        coalesce(counted.items_answered, 0) as items_answered,
        coalesce(counted.items_invalid, 0) as items_invalid,
        coalesce(counted.items_refused, 0) as items_refused,
        coalesce(counted.items_not_applicable, 0) as items_not_applicable,
        coalesce(counted.answered_sum, 0) as answered_sum,
        coalesce(statuses.risk_item_status, instruments.risk_status_without_item) as risk_item_status,
        coalesce(counted.items_invalid, 0) = 0
        and responses.response_status <> 'in_progress'
        and instruments.has_total as may_be_scored
    from responses
    inner join instruments on responses.instrument_code = instruments.instrument_code
    inner join needed on responses.instrument_code = needed.instrument_code
    left join counted
        on
            responses.response_id = counted.response_id
            and responses.instrument_code = counted.instrument_code
    left join statuses on counted.risk_item_precedence = statuses.precedence
),

-- A total lies between the bounds that the instrument states; one without a bound, or without items here, is open there.
bounded as (
    select
        *,
        has_total
        and submitted_total >= coalesce(total_min, submitted_total)
        and submitted_total <= coalesce(greatest_possible_total, submitted_total)
        and (
            submitted_total = floor(submitted_total)
            or (total_decimals > 0 and submitted_total = {{ hundredths('submitted_total') }} / 100.0)
        ) as is_on_scale
    from joined
),

totalled as (
    select
        *,
        case when may_be_scored and items_answered >= complete_items then answered_sum end as total_complete_case,
        case when may_be_scored and items_answered >= measure_items then answered_sum end as total_by_measure_policy,
        case
            when may_be_scored and items_answered >= prorate_items
                then {{ rounded_half_up('answered_sum * item_count', 'items_answered') }}
        end as total_prorated,
        case when may_be_scored and items_answered >= prorate_items then answered_sum * item_count end
            as prorated_numerator,
        case when may_be_scored and items_answered >= prorate_items then items_answered end as prorated_denominator,
        submitted_total is null or is_on_scale as is_submitted_total_valid,
        submitted_total is not null and is_on_scale as is_submitted
    from bounded
),

-- Which total a measure reads is a row of the instrument; where that one was not sent, the other stands in, marked so.
based as (
    select
        *,
        case
            when not may_be_scored then 'none'
            when nhs_measure_total = 'submitted' and is_submitted then 'submitted'
            when total_by_measure_policy is not null then 'derived'
            when is_submitted and not has_items then 'submitted'
            else 'none'
        end as measure_total_basis
    from totalled
),

final as (
    select
        response_id,
        instrument_code,
        definition_version,
        person_id,
        referral_id,
        contact_id,
        answered_at,
        answered_local_date,
        response_status,
        item_count as items_expected,
        items_answered,
        item_count - items_answered - items_invalid - items_refused - items_not_applicable as items_missing,
        items_refused,
        items_not_applicable,
        items_invalid,
        case when has_items then answered_sum end as answered_sum,
        greatest_possible_total,
        total_complete_case,
        total_prorated,
        prorated_numerator,
        prorated_denominator,
        submitted_total,
        case
            when measure_total_basis = 'derived' then total_by_measure_policy
            when measure_total_basis = 'submitted' and total_decimals = 0 then submitted_total
        end as measure_total,
        case measure_total_basis
            when 'derived' then {{ hundredths('total_by_measure_policy') }}
            when 'submitted' then {{ hundredths('submitted_total') }}
        end as measure_total_hundredths,
        measure_total_basis,
        caseness_value,
        coalesce(total_prorated is not null and items_answered < item_count, false) as is_prorated,
        coalesce(items_answered = item_count, false) as is_complete,
        items_invalid = 0 and is_submitted_total_valid as is_valid,
        coalesce(total_complete_case <> submitted_total, false) as has_total_mismatch,
        risk_item_status
    from based
)

select * from final
