with episodes as (
    select * from {{ ref('int_episodes_patterned') }}
),

bands as (
    select * from {{ ref('pathway_bands') }}
),

patterns as (
    select
        flag_pattern,
        {%- for flag in episode_flags() %}
        {{ any_where(flag) }} as {{ flag }},
        {%- endfor %}
        {%- for clock in episode_clocks() %}
        max({{ clock }}) as {{ clock }}{{ "," if not loop.last }}
        {%- endfor %}
    from episodes
    group by flag_pattern
),

{{ flags_listed('patterns', 'flag_pattern', episode_flags(), episode_clocks()) }},

final as (
    select * from listed
)

select * from final
