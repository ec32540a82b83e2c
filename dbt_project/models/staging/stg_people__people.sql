with source as (
    select * from {{ source('raw', 'people') }}
),

final as (
    select
        person_token,
        birth_date,
        sex,
        ethnicity_code,
        imd_decile,
        rurality,
        time_zone,
        is_deceased,
        deceased_date,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
