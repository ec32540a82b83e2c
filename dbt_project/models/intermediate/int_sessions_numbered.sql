{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

-- A contact counts for a referral of the same person; several treatments on one day are one session.
with contacts as (
    select * from {{ ref('int_contacts_flagged') }}
    {{ where_touched() }} {{ 'and' if is_incremental() else 'where' }} is_of_its_referral
),

days as (
    select distinct
        referral_id,
        person_id,
        contact_local_date as session_local_date
    from contacts
    where is_treatment and contact_local_date is not null
),

final as (
    select
        referral_id,
        person_id,
        session_local_date,
        row_number() over (partition by referral_id order by session_local_date) as session_number,
        lag(session_local_date) over (partition by referral_id order by session_local_date) as previous_session_local_date,
        min(session_local_date) over (partition by referral_id) as first_session_local_date
    from days
)

select * from final
