with snapshots as (
    select * from {{ ref('int_snapshots_patterned') }}
),

final as (
    select
        period_id,
        flag_pattern,
        count(*) as subjects_count
    from snapshots
    group by period_id, flag_pattern
)

select * from final
