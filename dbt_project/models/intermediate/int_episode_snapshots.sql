with referrals as (
    select * from {{ ref('int_referrals_current') }}
),

contacts as (
    select * from {{ ref('int_contacts_flagged') }}
    where is_of_its_referral and is_treatment
),

periods as (
    select * from {{ ref('stg_quality__measurement_periods') }}
),

-- A referral that was received by the last day of the period and not discharged by then, as it stood on that day.
open_referrals as (
    select
        referrals.referral_id,
        referrals.person_id,
        referrals.referral_received_date,
        periods.period_id,
        periods.period_kind,
        periods.period_start,
        periods.period_end
    from referrals
    inner join periods
        on
            referrals.referral_received_date <= periods.period_end
            and (referrals.discharge_date is null or referrals.discharge_date > periods.period_end)
    where {{ is_snapshot_computable('periods.period_end') }}
),

treated as (
    select
        open_referrals.referral_id,
        open_referrals.period_id,
        max(contacts.contact_local_date) as last_treatment_date
    from open_referrals
    inner join contacts
        on
            open_referrals.referral_id = contacts.referral_id
            and contacts.contact_local_date <= open_referrals.period_end
    group by open_referrals.referral_id, open_referrals.period_id
),

final as (
    select
        open_referrals.referral_id,
        open_referrals.person_id,
        open_referrals.period_id,
        open_referrals.period_kind,
        open_referrals.period_start,
        open_referrals.period_end,
        treated.last_treatment_date,
        treated.last_treatment_date is null as is_waiting_for_treatment,
        treated.last_treatment_date is not null as is_open_after_treatment,
        case
            when treated.last_treatment_date is null
                then {{ days_between('open_referrals.referral_received_date', 'open_referrals.period_end') }}
        end as days_waiting,
        {{ days_between('treated.last_treatment_date', 'open_referrals.period_end') }} as days_since_last_treatment,
        case when treated.last_treatment_date is null then 'waiting' else 'treated' end as flag_word
    from open_referrals
    left join treated
        on open_referrals.referral_id = treated.referral_id and open_referrals.period_id = treated.period_id
)

select * from final
