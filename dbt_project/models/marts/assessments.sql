{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with valued as (
    select * from {{ ref('int_assessments_valued') }}
    {{ where_touched() }}
),

assigned as (
    select * from {{ ref('int_assessments_assigned') }}
    {{ where_touched() }}
),

diagnosed as (
    select * from {{ ref('int_assessments_diagnosed') }}
    {{ where_touched() }}
),

triaged as (
    select * from {{ ref('int_assessments_triaged') }}
    {{ where_touched() }}
),

bands as (
    select * from {{ ref('severity_bands') }}
    where is_default and scale_code is null
),

-- Those of another authority, variant or sex never decide here; `assessment_judgements` tells each of them.
thresholds as (
    select * from {{ ref('thresholds') }}
    where is_default and scale_code is null and applies_to_sex is null
),

judged as (
    select
        valued.response_id,
        valued.instrument_code,
        max(
            case
                when thresholds.purpose = 'caseness'
                    then case
                        when
                            {{ meets('valued.caseness_hundredths', 'thresholds.comparator', hundredths('thresholds.threshold_value') ~ ' * valued.caseness_denominator') }}
                            then 1
                        else 0
                    end
            end
        ) as at_caseness,
        max(
            case
                when thresholds.purpose = 'screen' and valued.cut_hundredths is not null
                    then case
                        when
                            {{ meets('valued.cut_hundredths', 'thresholds.comparator', hundredths('thresholds.threshold_value')) }}
                            then 1
                        else 0
                    end
            end
        ) as screen_positive
    from valued
    inner join thresholds
        on
            valued.instrument_code = thresholds.instrument_code
            and valued.answered_local_date >= thresholds.valid_from
            and valued.answered_local_date <= coalesce(thresholds.valid_to, valued.answered_local_date)
    group by valued.response_id, valued.instrument_code
),

final as (
    select
        concat(valued.response_id, '.', valued.instrument_code) as assessment_id,
        valued.response_id,
        valued.person_id,
        assigned.referral_id,
        assigned.referral_assignment,
        valued.contact_id,
        valued.instrument_code,
        cast(valued.definition_version as integer) as definition_version,
        valued.answered_at,
        valued.answered_local_date,
        valued.response_status,
        cast(valued.items_expected as integer) as items_expected,
        cast(valued.items_answered as integer) as items_answered,
        cast(valued.items_missing as integer) as items_missing,
        cast(valued.items_refused as integer) as items_refused,
        cast(valued.items_not_applicable as integer) as items_not_applicable,
        cast(valued.items_invalid as integer) as items_invalid,
        cast(valued.answered_sum as integer) as answered_sum,
        cast(valued.greatest_possible_total as integer) as greatest_possible_total,
        cast(valued.total_complete_case as integer) as total_complete_case,
        cast(valued.total_prorated as integer) as total_prorated,
        cast(valued.prorated_numerator as integer) as prorated_numerator,
        cast(valued.prorated_denominator as integer) as prorated_denominator,
        cast(valued.submitted_total as double) as submitted_total,
        cast(valued.measure_total as integer) as measure_total,
        cast(valued.measure_total_hundredths as integer) as measure_total_hundredths,
        valued.measure_total_basis,
        valued.is_prorated,
        valued.is_complete,
        valued.is_valid,
        valued.has_total_mismatch,
        bands.band as severity_band,
        case when valued.caseness_hundredths is not null then judged.at_caseness = 1 end as is_at_caseness,
        judged.screen_positive = 1 as is_screen_positive,
        diagnosed.diagnostic_algorithm,
        coalesce(triaged.triage_level, 'not_applicable') as triage_level,
        valued.risk_item_status
    from valued
    inner join assigned
        on valued.response_id = assigned.response_id and valued.instrument_code = assigned.instrument_code
    inner join diagnosed
        on valued.response_id = diagnosed.response_id and valued.instrument_code = diagnosed.instrument_code
    left join triaged
        on valued.response_id = triaged.response_id and valued.instrument_code = triaged.instrument_code
    left join judged
        on valued.response_id = judged.response_id and valued.instrument_code = judged.instrument_code
    left join bands
        on
            valued.instrument_code = bands.instrument_code
            -- Bounds are whole in hundredths, so that the whole part of the quotient decides.
            and {{ whole_division('valued.value_hundredths', 'valued.value_denominator') }} >= {{ hundredths('bands.lower_bound_inclusive') }}
            and {{ whole_division('valued.value_hundredths', 'valued.value_denominator') }} < {{ hundredths('bands.upper_bound_exclusive') }}
)

select * from final
