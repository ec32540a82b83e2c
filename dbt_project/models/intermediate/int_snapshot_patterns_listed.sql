with snapshots as (
    select * from {{ ref('int_snapshots_patterned') }}
),

bands as (
    select * from {{ ref('pathway_bands') }}
),

patterns as (
    select
        flag_pattern,
        {%- for flag in snapshot_flags() %}
        {{ any_where(flag) }} as {{ flag }},
        {%- endfor %}
        {%- for clock in snapshot_clocks() %}
        max({{ clock }}) as {{ clock }}{{ "," if not loop.last }}
        {%- endfor %}
    from snapshots
    group by flag_pattern
),

{{ flags_listed('patterns', 'flag_pattern', snapshot_flags(), snapshot_clocks()) }},

final as (
    select * from listed
)

select * from final
