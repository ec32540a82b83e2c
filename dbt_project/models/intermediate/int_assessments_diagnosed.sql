{{ config(materialized="ephemeral") }}

with assessments as (
    select * from {{ ref('int_assessments_valued') }}
),

items as (
    select * from {{ ref('int_items_scored') }}
),

algorithms as (
    select * from {{ ref('diagnostic_algorithms') }}
),

outcomes as (
    select * from {{ ref('diagnostic_algorithm_outcomes') }}
),

scales as (
    select * from {{ ref('int_scales_scored') }}
    {{ where_touched(of='int_scales_scored') }} {{ 'and' if is_incremental() else 'where' }} minimum_symptoms is not null
),

cluster_outcomes as (
    select * from {{ ref('diagnostic_cluster_outcomes') }}
),

-- Clusters of symptoms, each with its own number: the rule is met when all of them are.
clusters as (
    select
        response_id,
        instrument_code,
        {{ count_where('has_enough_symptoms is null') }} as clusters_open,
        {{ count_where('not has_enough_symptoms') }} as clusters_not_met
    from scales
    group by response_id, instrument_code
),

asked as (
    select
        instrument_code,
        count(*) as items_asked
    from algorithms
    group by instrument_code
),

judged as (
    select
        items.response_id,
        items.instrument_code,
        items.is_answered,
        algorithms.is_core,
        items.is_answered and items.scored_value >= algorithms.symptom_at_or_above as is_symptom
    from items
    inner join algorithms
        on items.instrument_code = algorithms.instrument_code and items.item_number = algorithms.item_number
),

counted as (
    select
        response_id,
        instrument_code,
        {{ count_where('is_answered') }} as items_answered,
        {{ count_where('is_symptom') }} as symptoms,
        {{ count_where('is_symptom and is_core') }} as core_symptoms
    from judged
    group by response_id, instrument_code
),

-- An outcome needs every answer the algorithm asks for: a missing one is not the absence of a symptom.
final as (
    select
        assessments.*,
        case
            when cluster_outcomes.outcome is not null
                then case
                    when coalesce(clusters.clusters_open, 1) > 0 then 'not_assessable'
                    when clusters.clusters_not_met = 0 then cluster_outcomes.outcome
                    else 'none'
                end
            when asked.items_asked is null then 'not_applicable'
            when assessments.response_status = 'in_progress' then 'not_assessable'
            when coalesce(counted.items_answered, 0) < asked.items_asked then 'not_assessable'
            when counted.core_symptoms > 0 then coalesce(outcomes.outcome, 'none')
            else 'none'
        end as diagnostic_algorithm
    from assessments
    left join asked on assessments.instrument_code = asked.instrument_code
    left join counted
        on assessments.response_id = counted.response_id and assessments.instrument_code = counted.instrument_code
    left join cluster_outcomes on assessments.instrument_code = cluster_outcomes.instrument_code
    left join clusters
        on assessments.response_id = clusters.response_id and assessments.instrument_code = clusters.instrument_code
    left join outcomes
        on
            counted.instrument_code = outcomes.instrument_code
            and counted.symptoms >= outcomes.minimum_symptoms
            and counted.symptoms <= outcomes.maximum_symptoms
)

select * from final
