{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with contacts as (
    select * from {{ ref('int_contacts_depressed') }}
    {{ where_touched(of='int_contacts_depressed') }}
),

totals as (
    select * from {{ ref('int_depression_totals_submitted') }}
    {{ where_touched(of='int_depression_totals_submitted') }}
),

measures as (
    select * from {{ ref('int_course_measures_described') }}
),

final as (
    select
        measures.measure_id,
        contacts.person_id,
        contacts.contact_id,
        contacts.ends_local_date as contact_end_local_date,
        totals.score_id,
        totals.answered_at,
        totals.answered_local_date,
        totals.total_value
    from contacts
    inner join totals on contacts.person_id = totals.person_id and totals.is_phq9
    inner join measures
        on
            totals.answered_local_date
            >= {{ days_after('contacts.starts_local_date', '-measures.index_days_before_contact') }}
            and totals.answered_local_date
            <= {{ days_after('contacts.ends_local_date', 'measures.index_days_after_contact') }}
    where
        {{ meets('totals.total_value', 'measures.index_score_comparator', 'measures.index_score') }}
        and {{ value_let_in('measures.completeness_policy', 'totals') }} is not null
        and {{ is_let_in('measures.completeness_policy', 'totals') }}
)

select * from final
