with source as (
    select * from {{ source('raw', 'vr_exposures') }}
),

final as (
    select
        exposure_id,
        person_token,
        referral_id,
        contact_id,
        product_code,
        product_version,
        headset_code,
        session_number,
        scenario_code,
        hierarchy_step,
        planned_step_count,
        started_at,
        started_local_date,
        duration_minutes,
        suds_before,
        suds_peak,
        suds_after,
        suds_predicted,
        bat_step_before,
        bat_step_after,
        bat_step_count,
        record_status,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
