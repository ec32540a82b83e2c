with by_referral as (
    select * from {{ ref('int_members_by_referral') }}
),

at_period_end as (
    select * from {{ ref('int_members_at_period_end') }}
),

by_person as (
    select * from {{ ref('int_members_by_person') }}
),

final as (
    select * from by_referral
    union all
    select * from at_period_end
    union all
    select * from by_person
)

select * from final
