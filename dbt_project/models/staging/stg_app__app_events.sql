with source as (
    select * from {{ source('raw', 'app_events') }}
),

final as (
    select
        event_id,
        person_token,
        event_type,
        product_code,
        product_version,
        occurred_at,
        occurred_local_date,
        duration_minutes,
        mood_score,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
