{{ config(materialized="ephemeral") }}

with assessments as (
    select * from {{ ref('int_assessments_assigned') }}
    {{ where_touched(of='int_assessments_assigned') }}
),

-- The exact value as a fraction: whole for a complete or submitted total, prorated otherwise.
valued as (
    select
        *,
        case
            when total_complete_case is not null then {{ hundredths('total_complete_case') }}
            when total_prorated is not null then {{ hundredths('prorated_numerator') }}
            else measure_total_hundredths
        end as value_hundredths,
        case when total_complete_case is null and total_prorated is not null then prorated_denominator else 1 end
            as value_denominator
    from assessments
),

-- A cut is asked of a whole total; caseness of the one that measures read, or of the exact value, as the instrument says.
final as (
    select
        *,
        case when caseness_value = 'exact_value' then value_hundredths else measure_total_hundredths end
            as caseness_hundredths,
        case when caseness_value = 'exact_value' then value_denominator else 1 end as caseness_denominator,
        case
            when total_complete_case is not null then {{ hundredths('total_complete_case') }}
            when measure_total_basis = 'submitted' then measure_total_hundredths
        end as cut_hundredths
    from valued
)

select * from final
