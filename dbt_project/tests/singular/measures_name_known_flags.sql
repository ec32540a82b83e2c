-- A measure that misspells a flag would silently lose its members.
with flags as (
    select distinct flag_name from {{ ref('int_episode_flags_listed') }}
),

named as (
    select measure_id, initial_population_flag as flag_name from {{ ref('measures') }}
    union all
    select measure_id, denominator_flag from {{ ref('measures') }}
    union all
    select measure_id, denominator_exclusion_flag from {{ ref('measures') }}
    union all
    select measure_id, denominator_exception_flag from {{ ref('measures') }}
    union all
    select measure_id, numerator_flag from {{ ref('measures') }}
),

episodes as (
    select count(*) as episode_count from {{ ref('int_episodes_flagged') }}
),

final as (
    select
        named.measure_id,
        named.flag_name
    from named
    cross join episodes
    left join flags on named.flag_name = flags.flag_name
    where named.flag_name is not null and flags.flag_name is null and episodes.episode_count > 0
)

select * from final
