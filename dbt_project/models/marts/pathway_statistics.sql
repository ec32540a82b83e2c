with statistics as (
    select * from {{ ref('pathway_statistic_definitions') }}
),

terms as (
    select * from {{ ref('int_episode_statistics_listed') }}
),

periods as (
    select * from {{ ref('stg_quality__measurement_periods') }}
),

-- Days are few, so that the terms are added up by day before they are by period.
by_day as (
    select
        statistic_id,
        anchor_date,
        {{ count_where('is_once_a_referral') }} as referrals_count,
        sum(numerator_value) as numerator_sum,
        sum(denominator_value) as denominator_sum
    from terms
    group by statistic_id, anchor_date
),

-- A referral that comes on several days of a period is one referral of it.
repeated as (
    select
        terms.statistic_id,
        periods.period_id,
        count(distinct terms.referral_id) as referrals_count
    from terms
    inner join periods on terms.anchor_date >= periods.period_start and terms.anchor_date <= periods.period_end
    where not terms.is_once_a_referral
    group by terms.statistic_id, periods.period_id
),

summed as (
    select
        by_day.statistic_id,
        periods.period_id,
        sum(by_day.referrals_count) as referrals_count,
        sum(by_day.numerator_sum) as numerator_sum,
        sum(by_day.denominator_sum) as denominator_sum
    from by_day
    inner join periods on by_day.anchor_date >= periods.period_start and by_day.anchor_date <= periods.period_end
    group by by_day.statistic_id, periods.period_id
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
        coalesce(repeated.referrals_count, summed.referrals_count, 0) as referrals_count,
        coalesce(summed.numerator_sum, 0) as numerator_sum,
        coalesce(summed.denominator_sum, 0) as denominator_sum
    from statistics
    cross join periods
    left join summed on statistics.statistic_id = summed.statistic_id and periods.period_id = summed.period_id
    left join repeated on statistics.statistic_id = repeated.statistic_id and periods.period_id = repeated.period_id
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
