with measures as (
    select * from {{ ref('measures') }}
    where is_published
),

final as (
    select
        measure_id,
        definition_version,
        name,
        formula,
        denominator_text,
        caveat,
        higher_is,
        source
    from measures
)

select * from final
