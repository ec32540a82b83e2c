with source as (
    select * from {{ source('raw', 'interval_quantiles') }}
),

final as (
    select
        rule_id,
        confidence_level,
        normal_quantile
    from source
)

select * from final
