with statistics as (
    select * from {{ ref('pathway_statistic_definitions') }}
),

terms as (
    select * from {{ ref('int_episode_statistics_listed') }}
),

periods as (
    select * from {{ ref('stg_quality__measurement_periods') }}
),

summed as (
    select
        terms.statistic_id,
        periods.period_id,
        count(distinct terms.referral_id) as referrals_count,
        sum(terms.numerator_value) as numerator_sum,
        sum(terms.denominator_value) as denominator_sum
    from terms
    inner join periods on terms.anchor_date >= periods.period_start and terms.anchor_date <= periods.period_end
    group by terms.statistic_id, periods.period_id
),

-- Every statistic in every period, so that an empty cell is a row and not a gap.
listed as (
    select
        statistics.statistic_id,
        statistics.kind,
        statistics.unit,
        periods.period_id,
        periods.period_start,
        periods.period_end,
        {{ is_computable('periods.period_kind') }} as is_computable,
        coalesce(summed.referrals_count, 0) as referrals_count,
        coalesce(summed.numerator_sum, 0) as numerator_sum,
        coalesce(summed.denominator_sum, 0) as denominator_sum
    from statistics
    cross join periods
    left join summed on statistics.statistic_id = summed.statistic_id and periods.period_id = summed.period_id
),

-- A count of none is 0; a mean of none is missing.
final as (
    select
        statistic_id,
        period_id,
        period_start,
        period_end,
        unit,
        cast(case when is_computable then referrals_count end as bigint) as referrals_count,
        cast(case when is_computable then numerator_sum end as bigint) as numerator_sum,
        cast(case when is_computable and kind = 'mean' then denominator_sum end as bigint) as denominator_sum,
        case
            when not is_computable then null
            when kind = 'count' then cast(numerator_sum as double)
            when denominator_sum > 0 then cast(numerator_sum as double) / denominator_sum
        end as statistic_value,
        case
            when not is_computable then 'not_computable'
            when kind = 'count' or denominator_sum > 0 then 'computed'
            else 'no_denominator'
        end as result_status,
        '{{ pathway_switches_stated() }}' as pathway_switches
    from listed
)

select * from final
