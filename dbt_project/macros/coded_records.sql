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

owned as (
    select
        statements.*,
        coalesce(linked.person_id, statements.person_token) as person_id
    from statements
    left join linked on statements.person_token = linked.person_token
),

-- All statements of a touched person's records, whoever they name: a correction may move a record to another person.
touched as (
    select * from owned
    {% if is_incremental() -%}
        where {{ record_id }} in (select {{ record_id }} from owned {{ where_touched() }})
    {%- endif %}
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
    from touched
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
