with referrals as (
    select * from {{ ref('referral_groups') }}
),

final as (
    select * from referrals
)

select * from final
