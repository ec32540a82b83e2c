{%- set scales = [('phq9', 'PHQ-9'), ('gad7', 'GAD-7'), ('wsas', 'WSAS')] %}

with episodes as (
    select * from {{ ref('int_episodes_flagged') }}
    where has_finished_course
),

paired as (
    select * from {{ ref('int_episodes_paired') }}
),

courses as (
    select * from {{ ref('int_courses_of_therapy') }}
),

anchors as (
    select * from {{ ref('int_episode_anchors_listed') }}
    where period_anchor = 'discharge_date'
),

periods as (
    select * from {{ ref('stg_quality__measurement_periods') }}
),

deviations as (
    select * from {{ ref('national_score_deviations') }}
),

therapy_groups as (
    select distinct therapy_type from {{ ref('therapy_types') }}
    union all
    select 'all' as therapy_type
),

-- Every finished course once, and once more for each course of therapy in it.
grouped as (
    select
        referral_id,
        'all' as therapy_type
    from episodes
    union all
    select
        referral_id,
        therapy_type
    from courses
),

instruments as (
    {%- for _, instrument in scales %}
    select '{{ instrument }}' as instrument_code
    {{ "union all" if not loop.last }}
    {%- endfor %}
),

scores as (
    {%- for prefix, instrument in scales %}
    select
        referral_id,
        '{{ instrument }}' as instrument_code,
        {{ prefix }}_first as first_score,
        {{ prefix }}_last as last_score
    from paired
    {{ "union all" if not loop.last }}
    {%- endfor %}
),

summed as (
    select
        scores.instrument_code,
        grouped.therapy_type,
        periods.period_id,
        count(*) as courses_count,
        count(scores.first_score) as first_count,
        coalesce(sum(scores.first_score), 0) as first_sum,
        coalesce(sum(scores.first_score * scores.first_score), 0) as first_square_sum,
        count(scores.last_score) as last_count,
        coalesce(sum(scores.last_score), 0) as last_sum,
        {{ count_where('scores.first_score is not null and scores.last_score is not null') }} as paired_count,
        {{ sum_where('scores.first_score', 'scores.first_score is not null and scores.last_score is not null') }}
            as paired_first_sum,
        {{ sum_where('scores.first_score * scores.first_score', 'scores.first_score is not null and scores.last_score is not null') }}
            as paired_first_square_sum,
        {{ sum_where('scores.last_score', 'scores.first_score is not null and scores.last_score is not null') }}
            as paired_last_sum
    from grouped
    inner join scores on grouped.referral_id = scores.referral_id
    inner join anchors on grouped.referral_id = anchors.referral_id
    inner join periods on anchors.anchor_date >= periods.period_start and anchors.anchor_date <= periods.period_end
    group by scores.instrument_code, grouped.therapy_type, periods.period_id
),

-- The national deviation of the newest year that is not younger than the period.
dated as (
    select
        deviations.instrument_code,
        deviations.therapy_type,
        periods.period_id,
        deviations.national_sd_first,
        deviations.period_start as national_sd_period_start,
        deviations.period_end as national_sd_period_end,
        row_number() over (
            partition by deviations.instrument_code, deviations.therapy_type, periods.period_id
            order by deviations.period_start desc
        ) as year_rank
    from deviations
    inner join periods on deviations.period_start <= periods.period_end
),

listed as (
    select
        instruments.instrument_code,
        therapy_groups.therapy_type,
        periods.period_id,
        periods.period_start,
        periods.period_end,
        {{ is_computable('periods.period_kind') }} as is_computable,
        dated.national_sd_first,
        dated.national_sd_period_start,
        dated.national_sd_period_end,
        {%- for column in [
            'courses_count', 'first_count', 'first_sum', 'first_square_sum', 'last_count', 'last_sum', 'paired_count',
            'paired_first_sum', 'paired_first_square_sum', 'paired_last_sum'
        ] %}
        case when {{ is_computable('periods.period_kind') }} then coalesce(summed.{{ column }}, 0) end
            as {{ column }}{{ "," if not loop.last }}
        {%- endfor %}
    from instruments
    cross join therapy_groups
    cross join periods
    left join summed
        on
            instruments.instrument_code = summed.instrument_code
            and therapy_groups.therapy_type = summed.therapy_type
            and periods.period_id = summed.period_id
    left join dated
        on
            instruments.instrument_code = dated.instrument_code
            and therapy_groups.therapy_type = dated.therapy_type
            and periods.period_id = dated.period_id
            and dated.year_rank = 1
),

-- Means of those with a first and of those with a last score; deviations of a sample, from whole sums.
measured as (
    select
        *,
        cast(first_sum as double) / nullif(first_count, 0) as mean_first,
        cast(last_sum as double) / nullif(last_count, 0) as mean_last,
        cast(paired_first_sum - paired_last_sum as double) / nullif(paired_count, 0) as paired_mean_difference,
        sqrt(
            cast(first_count * first_square_sum - first_sum * first_sum as double)
            / nullif(first_count * (first_count - 1), 0)
        ) as own_sd_first,
        sqrt(
            cast(paired_count * paired_first_square_sum - paired_first_sum * paired_first_sum as double)
            / nullif(paired_count * (paired_count - 1), 0)
        ) as own_sd_first_of_pairs
    from listed
),

final as (
    select
        instrument_code,
        therapy_type,
        period_id,
        period_start,
        period_end,
        {%- for column in [
            'courses_count', 'first_count', 'first_sum', 'first_square_sum', 'last_count', 'last_sum', 'paired_count',
            'paired_first_sum', 'paired_first_square_sum', 'paired_last_sum'
        ] %}
        cast({{ column }} as bigint) as {{ column }},
        {%- endfor %}
        mean_first,
        mean_last,
        own_sd_first,
        own_sd_first_of_pairs,
        national_sd_first,
        national_sd_period_start,
        national_sd_period_end,
        (mean_first - mean_last) / national_sd_first as effect_size_by_national_sd,
        (mean_first - mean_last) / nullif(own_sd_first, 0) as effect_size_by_own_sd,
        paired_mean_difference / national_sd_first as paired_effect_size_by_national_sd,
        paired_mean_difference / nullif(own_sd_first_of_pairs, 0) as paired_effect_size_by_own_sd,
        case
            when not is_computable then 'not_computable'
            when first_count = 0 or last_count = 0 then 'no_scores'
            when national_sd_first is null then 'no_national_deviation'
            else 'computed'
        end as result_status,
        '{{ pathway_switches_stated() }}' as pathway_switches
    from measured
)

select * from final
