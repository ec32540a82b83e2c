{{ config(materialized="view") }}

with referrals as (
    select * from {{ ref('int_referrals_current') }}
),

statements as (
    select * from {{ ref('stg_people__coverages') }}
),

deletions as (
    select * from {{ ref('stg_quality__record_deletions') }}
    where record_kind = 'coverage'
),

linked as (
    select * from {{ ref('int_people_linked') }}
),

ranked as (
    select
        *,
        row_number() over (partition by coverage_id order by {{ latest_statement_first() }}) as statement_rank
    from statements
),

covers as (
    select
        coalesce(linked.person_id, ranked.person_token) as person_id,
        ranked.payer_category,
        ranked.coverage_start_date,
        ranked.coverage_end_date
    from ranked
    left join linked on ranked.person_token = linked.person_token
    where
        ranked.statement_rank = 1
        and ranked.coverage_status = 'active'
        and {{ is_not_deleted('ranked', 'coverage_id') }}
),

-- In force on the day of referral; of several the one that began last.
in_force as (
    select
        referrals.referral_id,
        covers.payer_category,
        row_number() over (
            partition by referrals.referral_id
            order by
                case when covers.payer_category is null then 1 else 0 end,
                coalesce(covers.coverage_start_date, date '1850-01-01') desc,
                covers.payer_category
        ) as cover_rank
    from referrals
    inner join covers
        on
            referrals.person_id = covers.person_id
            and coalesce(covers.coverage_start_date, referrals.referral_received_date)
            <= referrals.referral_received_date
            and coalesce(covers.coverage_end_date, referrals.referral_received_date)
            >= referrals.referral_received_date
),

final as (
    select
        referral_id,
        payer_category
    from in_force
    where cover_rank = 1
)

select * from final
