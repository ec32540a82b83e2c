{#- The steps of a model that holds coded records as last stated, one row per record and code. The latest statement of a record
    counts with all its codes: the rows that share its times and its load. -#}
{% macro coded_records_current(staging, record_id, record_kind, status_column, code_columns, columns) -%}
with statements as (
    select * from {{ ref(staging) }}
),

deletions as (
    select * from {{ ref('stg_quality__record_deletions') }}
    where record_kind = '{{ record_kind }}'
),

linked as (
    select * from {{ ref('int_people_linked') }}
),

{{ statements_of_touched_people(record_id) }},

owned as (
    select
        stated.*,
        coalesce(linked.person_id, stated.person_token) as person_id
    from stated
    left join linked on stated.person_token = linked.person_token
),

ranked as (
    select
        *,
        dense_rank() over (
            partition by {{ record_id }} order by recorded_at desc nulls last, delivered_at desc nulls last, load_id desc
        ) as statement_rank,
        row_number() over (
            partition by {{ record_id }}, {{ code_columns | join(', ') }} order by {{ latest_statement_first() }}
        ) as code_rank
    from owned
),

kept as (
    select * from ranked
    {{ where_touched() }}
),

final as (
    select
        {{ record_id }},
        person_id,
        {{ columns | join(',\n        ') }}
    from kept
    where statement_rank = 1 and code_rank = 1 and coalesce({{ status_column }}, 'active') <> 'entered_in_error'
        and {{ is_not_deleted('kept', record_id) }}
)
{%- endmacro %}
