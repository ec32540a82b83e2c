with source as (
    select * from {{ source('raw', 'costs') }}
),

final as (
    select
        cost_id,
        person_token,
        referral_id,
        contact_id,
        product_code,
        product_version,
        cost_kind,
        amount_minor_units,
        currency_code,
        price_year,
        period_start_date,
        period_end_date,
        record_status,
        recorded_at,
        load_id,
        source_name,
        source_row_number,
        delivered_at
    from source
)

select * from final
