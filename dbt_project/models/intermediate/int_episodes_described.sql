{{ config(materialized="view") }}

with episodes as (
    select * from {{ ref('int_episodes_flagged') }}
),

paired as (
    select * from {{ ref('int_episodes_paired') }}
),

final as (
    select
        episodes.referral_id,
        concat(
            'PHQ-9 ', coalesce(cast(paired.phq9_first as varchar(5)), 'none'),
            ' to ', coalesce(cast(paired.phq9_last as varchar(5)), 'none'),
            ', ', paired.anxiety_instrument_code,
            ' ', coalesce({{ points_in_words('paired.anxiety_first') }}, 'none'),
            ' to ', coalesce({{ points_in_words('paired.anxiety_last') }}, 'none'),
            ', days to first treatment ', coalesce(cast(episodes.days_to_first_treatment as varchar(8)), 'none'),
            ', ', episodes.caseness_status, ', ', episodes.change_class
        ) as evidence
    from episodes
    inner join paired on episodes.referral_id = paired.referral_id
)

select * from final
