with by_referral as (
    select * from {{ ref('int_members_by_referral') }}
),

final as (
    select * from by_referral
)

select * from final
