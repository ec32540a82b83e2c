{{ config(materialized="view") }}
{%- set clocks = snapshot_clocks() %}

with rows_flagged as (
    select * from {{ ref('int_episode_snapshots') }}
),

bands as (
    select * from {{ ref('int_clock_days_banded') }}
),

-- Who has the same pattern has the same flags, bands of days among them.
final as (
    select
        rows_flagged.*,
        concat(
            rows_flagged.flag_word
            {%- for clock in clocks %},
            ':', cast(coalesce({{ clock }}_bands.band_code, 0) as varchar(12))
            {%- endfor %}
        ) as flag_pattern
    from rows_flagged
    {%- for clock in clocks %}
    left join bands as {{ clock }}_bands
        on
            {{ clock }}_bands.clock = '{{ clock }}'
            and rows_flagged.{{ clock }} = {{ clock }}_bands.days_on_clock
    {%- endfor %}
)

select * from final
