{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_touched_people() }}"
) }}

with valued as (
    select * from {{ ref('int_scores_valued') }}
    {{ where_touched(of='int_scores_valued') }}
),

final as (
    select
        referral_id,
        person_id,
        instrument_code,
        cast(session_number as integer) as session_number,
        session_local_date,
        answered_local_date,
        cast(week_of_treatment as integer) as week_of_treatment,
        cast({{ rounded_half_up('scaled_score', 'score_scale') }} as integer) as total_prorated,
        cast(value_numerator as integer) as score_numerator,
        cast(value_denominator as integer) as score_denominator,
        score_basis,
        score_basis = 'prorated' as is_prorated,
        severity_band,
        main_modality
    from valued
    where is_last_of_session
)

select * from final
