{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with assessments as (
    select * from {{ ref('int_assessments_valued') }}
),

people as (
    select
        person_id,
        nullif(sex, 'unknown') as sex
    from {{ ref('int_people_current') }}
    {{ where_touched() }}
),

thresholds as (
    select * from {{ ref('thresholds') }}
    where not is_default and judges = 'total' and scale_code is null
),

bands as (
    select * from {{ ref('severity_bands') }}
    where not is_default and scale_code is null
),

schemes as (
    select distinct
        instrument_code,
        scheme
    from bands
),

-- Of one sex only: whose sex is not known has a row without an answer, who is of another has none.
by_threshold as (
    select
        assessments.response_id,
        assessments.instrument_code,
        assessments.person_id,
        thresholds.threshold_id as rule_id,
        thresholds.purpose,
        thresholds.authority,
        case
            when thresholds.applies_to_sex is not null and people.sex is null then null
            when thresholds.purpose = 'caseness'
                then {{ meets('assessments.caseness_hundredths', 'thresholds.comparator', hundredths('thresholds.threshold_value') ~ ' * assessments.caseness_denominator') }}
            else {{ meets('assessments.cut_hundredths', 'thresholds.comparator', hundredths('thresholds.threshold_value')) }}
        end as is_met,
        cast(null as {{ dbt.type_string() }}) as severity_band
    from assessments
    inner join thresholds
        on
            assessments.instrument_code = thresholds.instrument_code
            and assessments.answered_local_date >= thresholds.valid_from
            and assessments.answered_local_date <= coalesce(thresholds.valid_to, assessments.answered_local_date)
    left join people on assessments.person_id = people.person_id
    where coalesce(thresholds.applies_to_sex = people.sex, true)
),

by_scheme as (
    select
        assessments.response_id,
        assessments.instrument_code,
        assessments.person_id,
        concat(schemes.instrument_code, '.', schemes.scheme) as rule_id,
        'severity' as purpose,
        schemes.scheme as authority,
        cast(null as boolean) as is_met,
        bands.band as severity_band
    from assessments
    inner join schemes on assessments.instrument_code = schemes.instrument_code
    left join bands
        on
            schemes.instrument_code = bands.instrument_code
            and schemes.scheme = bands.scheme
            and assessments.value_hundredths
            >= {{ hundredths('bands.lower_bound_inclusive') }} * assessments.value_denominator
            and assessments.value_hundredths
            < {{ hundredths('bands.upper_bound_exclusive') }} * assessments.value_denominator
),

together as (
    select * from by_threshold
    union all
    select * from by_scheme
),

final as (
    select
        concat(response_id, '.', instrument_code, '.', rule_id) as assessment_judgement_id,
        concat(response_id, '.', instrument_code) as assessment_id,
        person_id,
        instrument_code,
        rule_id,
        purpose,
        authority,
        is_met,
        severity_band
    from together
)

select * from final
