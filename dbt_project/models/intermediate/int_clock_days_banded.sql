with episodes as (
    select * from {{ ref('int_episodes_flagged') }}
),

snapshots as (
    select * from {{ ref('int_episode_snapshots') }}
),

bands as (
    select * from {{ ref('pathway_bands') }}
),

days as (
    {%- for rows, clocks in [('episodes', episode_clocks()), ('snapshots', snapshot_clocks())] %}
    {%- set is_last_clock_of_all = loop.last %}
    {%- for clock in clocks %}
    select distinct
        '{{ clock }}' as clock,
        {{ clock }} as days_on_clock
    from {{ rows }}
    where {{ clock }} is not null
    {{ "union all" if not (is_last_clock_of_all and loop.last) }}
    {%- endfor %}
    {%- endfor %}
),

numbered as (
    select
        *,
        row_number() over (partition by clock order by flag_name) as band_number
    from bands
),

-- The bands that a number of days lies in, as one number: a binary digit for each.
final as (
    select
        days.clock,
        days.days_on_clock,
        cast(
            sum(case when {{ is_in_band('days.days_on_clock', 'numbered') }} then power(2, numbered.band_number - 1) else 0 end)
            as bigint
        ) as band_code
    from days
    inner join numbered on days.clock = numbered.clock
    group by days.clock, days.days_on_clock
)

select * from final
