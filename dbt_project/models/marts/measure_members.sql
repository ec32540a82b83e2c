with by_referral as (
    select * from {{ ref('int_members_by_referral') }}
),

at_period_end as (
    select * from {{ ref('int_members_at_period_end') }}
),

final as (
    select * from by_referral
    union all
    select * from at_period_end
)

select * from final
