{{ config(materialized="view") }}
{%- set clocks = ['days_to_first_assessment', 'days_first_to_second_treatment'] %}

with episodes as (
    select * from {{ ref('int_episodes_flagged') }}
),

bands as (
    select * from {{ ref('pathway_bands') }}
),

stated as (
    {%- for flag in episode_flags() %}
    select
        referral_id,
        person_id,
        '{{ flag }}' as flag_name,
        {{ flag }} as flag_value
    from episodes
    {{ "union all" if not loop.last }}
    {%- endfor %}
),

clocked as (
    {%- for clock in clocks %}
    select
        referral_id,
        person_id,
        '{{ clock }}' as clock,
        {{ clock }} as days_on_clock
    from episodes
    {{ "union all" if not loop.last }}
    {%- endfor %}
),

banded as (
    select
        clocked.referral_id,
        clocked.person_id,
        bands.flag_name,
        {{ is_in_band('clocked.days_on_clock', 'bands') }} as flag_value
    from clocked
    inner join bands on clocked.clock = bands.clock
),

final as (
    select
        referral_id,
        person_id,
        flag_name,
        flag_value
    from stated
    union all
    select
        referral_id,
        person_id,
        flag_name,
        flag_value
    from banded
)

select * from final
