{{ config(tags=["publication"], schema="publication") }}

with source as (
    select * from {{ source('results', 'trajectory_means') }}
),

final as (
    select
        instrument_code,
        stratum_dimension,
        stratum_value,
        week_of_treatment,
        starters_count,
        starters_people_count,
        observed_count,
        observed_people_count,
        model_mean,
        model_ci_low,
        model_ci_high,
        observed_mean,
        observed_ci_low,
        observed_ci_high,
        method
    from source
)

select * from final
