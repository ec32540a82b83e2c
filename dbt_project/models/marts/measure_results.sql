with members as (
    select * from {{ ref('int_members_counted') }}
),

measures as (
    select * from {{ ref('measures') }}
),

periods as (
    select * from {{ ref('stg_quality__measurement_periods') }}
),

quantiles as (
    select * from {{ ref('stg_quality__interval_quantiles') }}
    where rule_id = 'confidence_level'
),

exclusion_lists as (
    select * from {{ ref('measure_exclusion_lists') }}
),

counted as (
    select
        measure_id,
        period_id,
        sum(initial_population_count) as initial_population_count,
        sum(stated_denominator_count) as stated_denominator_count,
        sum(denominator_exclusion_count) as denominator_exclusion_count,
        sum(numerator_count) as numerator_count
    from members
    group by measure_id, period_id
),

-- Every measure in every period of its kinds, so that an empty cell is a row and not a gap.
listed as (
    select
        measures.measure_id,
        periods.period_id,
        periods.period_start,
        periods.period_end,
        measures.measure_family,
        {{ is_computable('periods.period_kind') }}
        and {{ has_period_kind('measures.period_kinds', 'periods.period_kind') }}
        and (measures.period_anchor <> 'period_end' or {{ is_snapshot_computable('periods.period_end') }})
            as is_computable,
        measures.subject_type = 'person' and periods.is_partial as has_open_windows,
        coalesce(exclusion_lists.exclusion_list_status, 'not_applicable') as exclusion_list_status,
        quantiles.normal_quantile,
        coalesce(counted.initial_population_count, 0) as initial_population_count,
        coalesce(counted.stated_denominator_count, 0) as stated_denominator_count,
        coalesce(counted.denominator_exclusion_count, 0) as denominator_exclusion_count,
        coalesce(counted.numerator_count, 0) as numerator_count
    from measures
    inner join periods on {{ is_told_in('measures.period_kinds', 'periods.period_kind') }}
    cross join quantiles
    left join exclusion_lists on measures.measure_id = exclusion_lists.measure_id
    left join counted on measures.measure_id = counted.measure_id and periods.period_id = counted.period_id
),

final as (
    select
        measure_id,
        period_id,
        period_start,
        period_end,
        {{ result_columns('is_computable and not has_open_windows') }},
        {{ rate_bound_columns('is_computable and not has_open_windows') }},
        case
            when not is_computable then 'not_computable'
            -- Whose window is still open, or began before the data, would count as failed: counts so far, and no rate.
            when has_open_windows and stated_denominator_count - denominator_exclusion_count > 0 then 'partial_period'
            when stated_denominator_count - denominator_exclusion_count > 0 then 'computed'
            else 'no_denominator'
        end as result_status,
        case when measure_family = 'nhs_tt' then '{{ pathway_switches_stated() }}' else 'not_applicable' end
            as pathway_switches,
        exclusion_list_status
    from listed
)

select * from final
