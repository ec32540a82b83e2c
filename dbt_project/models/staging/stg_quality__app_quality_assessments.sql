with source as (
    select * from {{ source('raw', 'app_quality_assessments') }}
),

final as (
    select
        assessment_id,
        product_code,
        product_version,
        quality_framework,
        framework_version,
        rater_id,
        quality_domain,
        quality_score,
        quality_result,
        has_evidence,
        assessed_at,
        assessed_local_date,
        expires_date,
        record_status,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
