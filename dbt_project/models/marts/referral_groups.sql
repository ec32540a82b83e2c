{{ config(materialized="view") }}

with episodes as (
    select * from {{ ref('episodes') }}
),

payers as (
    select * from {{ ref('int_episodes_payer') }}
),

engagement as (
    select * from {{ ref('app_engagement') }}
),

-- The product used in most weeks that begin within the course; the day of referral counts as within.
products_ranked as (
    select
        episodes.referral_id,
        engagement.product_code,
        row_number() over (
            partition by episodes.referral_id
            order by count(*) desc, sum(engagement.events_count) desc, engagement.product_code
        ) as product_rank
    from episodes
    inner join engagement
        on
            episodes.person_id = engagement.person_id
            and {{ days_between('episodes.referral_received_date', 'engagement.first_use_date') }}
            + 7 * engagement.week_of_use >= 0
            and (
                episodes.discharge_date is null
                or {{ days_between('engagement.first_use_date', 'episodes.discharge_date') }}
                - 7 * engagement.week_of_use >= 0
            )
    group by episodes.referral_id, engagement.product_code
),

final as (
    select
        episodes.referral_id,
        episodes.person_id,
        coalesce(episodes.sex, 'not recorded') as sex,
        coalesce(episodes.age_band, 'not recorded') as age_band,
        coalesce(episodes.ethnic_group, 'not recorded') as ethnic_group,
        coalesce(cast(episodes.imd_quintile as varchar(60)), 'not recorded') as imd_quintile,
        coalesce(episodes.rurality, 'not recorded') as rurality,
        coalesce(episodes.main_modality, 'not recorded') as main_modality,
        coalesce(episodes.service_code, 'not recorded') as service_code,
        coalesce(episodes.severity_band_first, 'not recorded') as severity_band_first,
        coalesce(payers.payer_category, 'not recorded') as payer_category,
        coalesce(products_ranked.product_code, 'none used') as main_product
    from episodes
    left join payers on episodes.referral_id = payers.referral_id
    left join products_ranked
        on episodes.referral_id = products_ranked.referral_id and products_ranked.product_rank = 1
)

select * from final
