with source as (
    select * from {{ source('raw', 'person_links') }}
),

final as (
    select
        person_token,
        linked_person_token,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
