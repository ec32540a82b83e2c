{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with scored as (
    select * from {{ ref('int_scales_scored') }}
    {{ where_touched(of='int_scales_scored') }}
),

bands as (
    select * from {{ ref('severity_bands') }}
    where is_default and scale_code is not null
),

final as (
    select
        concat(scored.response_id, '.', scored.instrument_code, '.', scored.scale_code) as assessment_scale_id,
        concat(scored.response_id, '.', scored.instrument_code) as assessment_id,
        scored.person_id,
        scored.instrument_code,
        scored.scale_code,
        cast(scored.definition_version as integer) as definition_version,
        scored.answered_local_date,
        scored.response_status,
        cast(scored.items_expected as integer) as items_expected,
        cast(scored.items_answered as integer) as items_answered,
        cast(scored.answered_sum as integer) as answered_sum,
        scored.score_basis,
        cast(scored.score_numerator as integer) as score_numerator,
        cast(scored.score_denominator as integer) as score_denominator,
        cast(scored.score_hundredths as integer) as score_hundredths,
        scored.is_prorated,
        bands.band as severity_band,
        cast(scored.symptom_count as integer) as symptom_count,
        scored.has_enough_symptoms
    from scored
    left join bands
        on
            scored.instrument_code = bands.instrument_code
            and scored.scale_code = bands.scale_code
            and scored.score_numerator >= bands.lower_bound_inclusive * scored.score_denominator
            and scored.score_numerator < bands.upper_bound_exclusive * scored.score_denominator
)

select * from final
