{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with assessments as (
    select * from {{ ref('int_assessments_diagnosed') }}
),

triaged as (
    select * from {{ ref('int_assessments_triaged') }}
    {{ where_touched(of='int_assessments_triaged') }}
),

bands as (
    select * from {{ ref('severity_bands') }}
    where is_default and scale_code is null
),

-- Of one instrument and purpose one is in force on a day, which a test of the definitions holds.
-- Those of another authority, variant or sex never decide here; `assessment_judgements` tells each of them.
thresholds as (
    select * from {{ ref('thresholds') }}
    where is_default and scale_code is null and applies_to_sex is null
),

final as (
    select
        concat(assessments.response_id, '.', assessments.instrument_code) as assessment_id,
        assessments.response_id,
        assessments.person_id,
        assessments.referral_id,
        assessments.referral_assignment,
        assessments.is_score_counted,
        assessments.contact_id,
        assessments.instrument_code,
        cast(assessments.definition_version as integer) as definition_version,
        assessments.answered_at,
        assessments.answered_local_date,
        assessments.response_status,
        cast(assessments.items_expected as integer) as items_expected,
        cast(assessments.items_answered as integer) as items_answered,
        cast(assessments.items_missing as integer) as items_missing,
        cast(assessments.items_refused as integer) as items_refused,
        cast(assessments.items_not_applicable as integer) as items_not_applicable,
        cast(assessments.items_invalid as integer) as items_invalid,
        cast(assessments.answered_sum as integer) as answered_sum,
        cast(assessments.greatest_possible_total as integer) as greatest_possible_total,
        cast(assessments.total_complete_case as integer) as total_complete_case,
        cast(assessments.total_prorated as integer) as total_prorated,
        cast(assessments.prorated_numerator as integer) as prorated_numerator,
        cast(assessments.prorated_denominator as integer) as prorated_denominator,
        cast(assessments.submitted_total as double) as submitted_total,
        cast(assessments.measure_total as integer) as measure_total,
        cast(assessments.measure_total_hundredths as integer) as measure_total_hundredths,
        assessments.measure_total_basis,
        assessments.is_prorated,
        assessments.is_complete,
        assessments.is_valid,
        assessments.has_total_mismatch,
        bands.band as severity_band,
        {{ meets('assessments.caseness_hundredths', 'caseness.comparator', hundredths('caseness.threshold_value') ~ ' * assessments.caseness_denominator') }}
            as is_at_caseness,
        {{ meets('assessments.cut_hundredths', 'screen.comparator', hundredths('screen.threshold_value')) }}
            as is_screen_positive,
        assessments.diagnostic_algorithm,
        coalesce(triaged.triage_level, 'not_applicable') as triage_level,
        assessments.risk_item_status
    from assessments
    left join triaged
        on assessments.response_id = triaged.response_id and assessments.instrument_code = triaged.instrument_code
    {{ join_threshold('caseness', 'assessments') }}
    {{ join_threshold('screen', 'assessments') }}
    left join bands
        on
            assessments.instrument_code = bands.instrument_code
            -- Bounds are whole in hundredths, so that the whole part of the quotient decides.
            and {{ whole_division('assessments.value_hundredths', 'assessments.value_denominator') }} >= {{ hundredths('bands.lower_bound_inclusive') }}
            and {{ whole_division('assessments.value_hundredths', 'assessments.value_denominator') }} < {{ hundredths('bands.upper_bound_exclusive') }}
)

select * from final
