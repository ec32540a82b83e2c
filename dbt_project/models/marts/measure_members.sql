with by_referral as (
    select * from {{ ref('int_members_by_referral') }}
),

by_person as (
    select * from {{ ref('int_members_by_person') }}
),

final as (
    select * from by_referral
    union all
    select * from by_person
)

select * from final
