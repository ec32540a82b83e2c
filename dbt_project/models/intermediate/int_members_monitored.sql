with contacts as (
    select * from {{ ref('int_contacts_depressed') }}
),

totals as (
    select * from {{ ref('int_depression_totals_submitted') }}
    where is_phq9 and total_value is not null
),

people as (
    select * from {{ ref('int_people_current') }}
),

periods as (
    select * from {{ ref('stg_quality__measurement_periods') }}
    where {{ is_computable('period_kind') }}
),

measures as (
    select
        measure_id,
        period_kinds,
        {{ parameter('minimum_age') }} as minimum_age,
        {{ parameter_comparator('minimum_age') }} as minimum_age_comparator,
        {{ parameter('part_start_months') }} as part_start_months,
        {{ parameter('part_end_months') }} as part_end_months
    from {{ ref('int_measure_parameters_chosen') }}
    where period_anchor = 'depression_contact'
    group by measure_id, period_kinds
),

parts as (
    select
        measures.measure_id,
        measures.minimum_age,
        measures.minimum_age_comparator,
        periods.period_id,
        periods.period_start,
        periods.period_end,
        {{ months_after('periods.period_start', 'measures.part_start_months') }} as part_start,
        {{ months_after('periods.period_start', 'measures.part_end_months') }} as part_end
    from measures
    inner join periods on {{ has_period_kind('measures.period_kinds', 'periods.period_kind') }}
),

in_care as (
    select
        parts.measure_id,
        parts.period_id,
        parts.period_end,
        parts.part_start,
        parts.part_end,
        contacts.person_id,
        min(contacts.starts_local_date) as contact_date
    from contacts
    inner join people on contacts.person_id = people.person_id
    inner join parts
        on
            contacts.starts_local_date >= parts.part_start
            and contacts.starts_local_date < parts.part_end
            and contacts.starts_local_date <= parts.period_end
    where
        contacts.starts_local_date <= {{ as_of_date() }}
        and {{ meets(
            age_in_years('people.birth_date', 'parts.period_start'), 'parts.minimum_age_comparator', 'parts.minimum_age'
        ) }}
    group by
        parts.measure_id, parts.period_id, parts.period_end, parts.part_start, parts.part_end, contacts.person_id
),

scored as (
    select
        in_care.measure_id,
        in_care.period_id,
        in_care.person_id,
        min(totals.answered_local_date) as score_date
    from in_care
    inner join totals
        on
            in_care.person_id = totals.person_id
            and totals.answered_local_date >= in_care.part_start
            and totals.answered_local_date < in_care.part_end
            and totals.answered_local_date <= in_care.period_end
    where totals.answered_local_date <= {{ as_of_date() }}
    group by in_care.measure_id, in_care.period_id, in_care.person_id
),

final as (
    select
        in_care.measure_id,
        in_care.period_id,
        in_care.person_id,
        true as has_depression_contact,
        scored.person_id is not null as has_score_in_part,
        in_care.contact_date as evidence_date,
        concat(
            'visit during depression ', cast(in_care.contact_date as varchar(10)),
            case
                when scored.score_date is null then ', no PHQ-9 in these months'
                else concat(', PHQ-9 on ', cast(scored.score_date as varchar(10)))
            end
        ) as evidence,
        cast(null as varchar(60)) as exclusion_reason
    from in_care
    left join scored
        on
            in_care.measure_id = scored.measure_id
            and in_care.period_id = scored.period_id
            and in_care.person_id = scored.person_id
)

select * from final
