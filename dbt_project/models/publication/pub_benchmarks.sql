with benchmarks as (
    select * from {{ ref('measure_benchmarks') }}
),

measures as (
    select * from {{ ref('measures') }}
    where is_published
),

final as (
    select
        benchmarks.measure_id,
        benchmarks.authority,
        benchmarks.area,
        benchmarks.period_start,
        benchmarks.period_end,
        benchmarks.benchmark_kind,
        benchmarks.benchmark_percent,
        benchmarks.source
    from benchmarks
    inner join measures on benchmarks.measure_id = measures.measure_id
    -- A plan that no published text has confirmed is no figure to print.
    where not (benchmarks.benchmark_kind = 'plan' and benchmarks.verification = 'unverified')
)

select * from final
