{{ config(materialized="ephemeral") }}

with answers as (
    select * from {{ ref('int_answers_current') }}
    {{ where_touched(of='int_answers_current') }}
),

instruments as (
    select * from {{ ref('instruments') }}
),

items as (
    select * from {{ ref('instrument_items') }}
),

risk_items as (
    select * from {{ ref('risk_items') }}
),

keyed as (
    select
        answers.response_id,
        answers.instrument_code,
        answers.person_id,
        answers.item_number,
        answers.answer_state,
        case
            when answers.answer_value_kind = 'answer_position' and items.is_reverse_keyed
                then instruments.item_min + instruments.item_max - answers.answer_value
            else answers.answer_value
        end as scored_value,
        instruments.item_min,
        instruments.item_max,
        items.may_be_not_applicable
    from answers
    inner join instruments on answers.instrument_code = instruments.instrument_code
    inner join items
        on answers.instrument_code = items.instrument_code and answers.item_number = items.item_number
),

judged as (
    select
        *,
        answer_state = 'answered' and scored_value between item_min and item_max as is_answered,
        answer_state = 'answered' and scored_value not between item_min and item_max as is_invalid
    from keyed
),

answered as (
    select
        judged.response_id,
        judged.instrument_code,
        judged.person_id,
        judged.item_number,
        judged.answer_state,
        judged.scored_value,
        judged.is_answered,
        judged.is_invalid,
        judged.answer_state = 'not_applicable' and judged.may_be_not_applicable as is_out_of_the_form,
        case
            when risk_items.item_number is null then null
            when judged.is_invalid then 'missing'
            when judged.is_answered
                then case
                    when {{ meets('judged.scored_value', 'risk_items.comparator', 'risk_items.threshold_value') }}
                        then 'positive'
                    else 'negative'
                end
            when judged.answer_state = 'refused' then 'declined'
            when judged.answer_state = 'not_asked' then 'not_asked'
            else 'missing'
        end as risk_item_status
    from judged
    left join risk_items
        on
            judged.instrument_code = risk_items.instrument_code
            and judged.item_number = risk_items.item_number
),

statuses as (
    select * from {{ ref('risk_item_statuses') }}
),

final as (
    select
        answered.*,
        statuses.precedence as risk_item_precedence
    from answered
    left join statuses on answered.risk_item_status = statuses.risk_item_status
)

select * from final
