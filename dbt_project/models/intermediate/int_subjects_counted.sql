with subjects as (
    select * from {{ ref('int_subjects_patterned') }}
),

anchors as (
    select * from {{ ref('int_episode_anchors_listed') }}
),

final as (
    select
        subjects.subject_type,
        subjects.therapy_type,
        subjects.flag_pattern,
        anchors.period_anchor,
        anchors.anchor_date,
        count(*) as subjects_count
    from subjects
    inner join anchors on subjects.referral_id = anchors.referral_id
    group by
        subjects.subject_type,
        subjects.therapy_type,
        subjects.flag_pattern,
        anchors.period_anchor,
        anchors.anchor_date
)

select * from final
