{{ config(materialized="view") }}

with episodes as (
    select * from {{ ref('int_episodes_flagged') }}
),

bands as (
    select * from {{ ref('int_clock_days_banded') }}
),

final as (
    select
        episodes.*,
        {{ flag_pattern('episodes', episode_clocks()) }} as flag_pattern
    from episodes
    {{ join_bands('episodes', episode_clocks()) }}
)

select * from final
