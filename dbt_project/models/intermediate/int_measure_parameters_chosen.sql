{{ config(materialized="view") }}

with measures as (
    select * from {{ ref('measures') }}
),

parameters as (
    select * from {{ ref('measure_parameters') }}
),

-- A measure's version chooses its parameters: of each the newest that is no newer than the measure.
ranked as (
    select
        parameters.*,
        measures.measure_family,
        measures.period_anchor,
        measures.period_kinds,
        measures.completeness_policy,
        measures.threshold_ids,
        row_number() over (
            partition by parameters.measure_id, parameters.parameter order by parameters.definition_version desc
        ) as version_rank
    from parameters
    inner join measures
        on
            parameters.measure_id = measures.measure_id
            and parameters.definition_version <= measures.definition_version
),

final as (
    select
        measure_id,
        measure_family,
        period_anchor,
        period_kinds,
        completeness_policy,
        threshold_ids,
        parameter,
        comparator,
        parameter_value
    from ranked
    where version_rank = 1
)

select * from final
