with benchmarks as (
    select * from {{ ref('measure_benchmarks') }}
),

final as (
    select * from benchmarks
)

select * from final
