{{ config(materialized="view") }}

with episodes as (
    select * from {{ ref('int_episodes_patterned') }}
),

courses as (
    select * from {{ ref('int_courses_of_therapy') }}
),

-- What a measure counts: referrals, or the courses of therapy within them, which carry the flags of their referral.
final as (
    select
        'referral' as subject_type,
        referral_id as subject_id,
        referral_id,
        person_id,
        cast(null as varchar(40)) as therapy_type,
        flag_pattern
    from episodes
    union all
    select
        'course_of_therapy' as subject_type,
        courses.course_of_therapy_id as subject_id,
        courses.referral_id,
        courses.person_id,
        courses.therapy_type,
        episodes.flag_pattern
    from courses
    inner join episodes on courses.referral_id = episodes.referral_id
)

select * from final
