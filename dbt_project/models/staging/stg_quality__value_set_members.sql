with source as (
    select * from {{ source('raw', 'value_set_members') }}
),

final as (
    select
        value_set,
        oid,
        code_system,
        code,
        version
    from source
)

select * from final
