-- A measure of people that misspells a flag would silently lose its members. The flags of a measure are told of all its members at once, so those of its model are known as soon as one is.
with flags as (
    select distinct flag_name from {{ ref('int_person_flags_listed') }}
),

measures as (
    select * from {{ ref('measures') }}
    where subject_type = 'person'
),

named as (
    {%- for role in ['initial_population', 'denominator', 'denominator_exclusion', 'denominator_exception', 'numerator'] %}
    select
        measure_id,
        {{ role }}_flag as flag_name
    from measures
    where {{ role }}_flag is not null
    {{ "union all" if not loop.last }}
    {%- endfor %}
),

told as (
    select distinct measure_id from {{ ref('int_person_flags_listed') }}
),

final as (
    select
        named.measure_id,
        named.flag_name
    from named
    inner join told on named.measure_id = told.measure_id
    left join flags on named.flag_name = flags.flag_name
    where flags.flag_name is null
)

select * from final
