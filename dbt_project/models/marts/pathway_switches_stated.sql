{%- set chosen = var('pathway_switches') %}

with options as (
    select * from {{ ref('pathway_switches') }}
),

chosen as (
    {%- for switch_id, option in chosen.items() %}
    select
        '{{ switch_id }}' as switch_id,
        '{{ option }}' as chosen_option
    {{ "union all" if not loop.last }}
    {%- endfor %}
),

defaults as (
    select
        switch_id,
        option as default_option
    from options
    where is_default
),

final as (
    select
        options.switch_id,
        options.definition_version,
        chosen.chosen_option,
        defaults.default_option,
        options.is_default,
        options.about,
        options.source
    from options
    inner join chosen on options.switch_id = chosen.switch_id and options.option = chosen.chosen_option
    inner join defaults on options.switch_id = defaults.switch_id
)

select * from final
