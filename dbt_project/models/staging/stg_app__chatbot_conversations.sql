with source as (
    select * from {{ source('raw', 'chatbot_conversations') }}
),

final as (
    select
        conversation_id,
        person_token,
        product_code,
        product_version,
        started_at,
        started_local_date,
        ended_at,
        user_message_count,
        bot_message_count,
        has_risk_flag,
        risk_flag_at,
        escalation_state,
        escalated_at,
        human_handover_at,
        first_review_label,
        second_review_label,
        review_sampling_share,
        alliance_instrument,
        alliance_score,
        record_status,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
