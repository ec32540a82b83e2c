with source as (
    select * from {{ source('raw', 'mood_ratings') }}
),

final as (
    select
        rating_id,
        person_token,
        product_code,
        product_version,
        mood_scale,
        rating_kind,
        mood_value,
        valence_score,
        arousal_score,
        rated_at,
        rated_local_date,
        record_status,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
