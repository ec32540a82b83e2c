-- A measure that misspells a flag would silently lose its members. Of each kind of subject the flags are known once there is one.
with flags as (
    select distinct
        'referral' as subject_type,
        flag_name
    from {{ ref('int_episode_flags_listed') }}
    union
    select distinct
        'person' as subject_type,
        flag_name
    from {{ ref('int_person_flags_listed') }}
    -- The flags of a measure are told of all its members at once, so those of its model are known as soon as one is.
),

named as (
    select measure_id, subject_type, initial_population_flag as flag_name from {{ ref('measures') }}
    union all
    select measure_id, subject_type, denominator_flag from {{ ref('measures') }}
    union all
    select measure_id, subject_type, denominator_exclusion_flag from {{ ref('measures') }}
    union all
    select measure_id, subject_type, denominator_exception_flag from {{ ref('measures') }}
    union all
    select measure_id, subject_type, numerator_flag from {{ ref('measures') }}
),

-- Measures that have somebody to tell of: every course there is, of the person measures those with members.
told as (
    select measures.measure_id
    from {{ ref('measures') }} as measures
    cross join (select count(*) as episode_count from {{ ref('int_episodes_flagged') }}) as episodes
    where measures.subject_type = 'referral' and episodes.episode_count > 0
    union
    select measure_id from {{ ref('int_person_flags_listed') }}
),

final as (
    select
        named.measure_id,
        named.flag_name
    from named
    inner join told on named.measure_id = told.measure_id
    left join flags on named.flag_name = flags.flag_name and named.subject_type = flags.subject_type
    where named.flag_name is not null and flags.flag_name is null
)

select * from final
