{{ config(materialized="view") }}

with snapshots as (
    select * from {{ ref('int_episode_snapshots') }}
),

bands as (
    select * from {{ ref('int_clock_days_banded') }}
),

final as (
    select
        snapshots.*,
        {{ flag_pattern('snapshots', snapshot_clocks()) }} as flag_pattern
    from snapshots
    {{ join_bands('snapshots', snapshot_clocks()) }}
)

select * from final
