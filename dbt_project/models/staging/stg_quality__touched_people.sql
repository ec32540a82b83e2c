with source as (
    select * from {{ source('raw', 'touched_people') }}
),

final as (
    select
        person_token
    from source
)

select * from final
