-- No measure can count more people above the line than below it.
with results as (
    select * from {{ ref('measure_results') }}
),

final as (
    select * from results
    where numerator_count > denominator_count or denominator_count > initial_population_count
)

select * from final
