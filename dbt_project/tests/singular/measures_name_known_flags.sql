-- A measure that misspells a flag or an anchor would silently lose its members.
with flags as (
    {%- for flag in episode_flags() + snapshot_flags() %}
    select '{{ flag }}' as flag_name
    union all
    {%- endfor %}
    select flag_name from {{ ref('pathway_bands') }}
),

anchors as (
    {%- for anchor in episode_anchors() + ['period_end'] %}
    select '{{ anchor }}' as anchor_name
    {{ "union all" if not loop.last }}
    {%- endfor %}
),

measures as (
    select * from {{ ref('measures') }}
    where measure_family = 'nhs_tt'
),

named as (
    {%- for role in ['initial_population', 'denominator', 'denominator_exclusion', 'denominator_exception', 'numerator'] %}
    select
        measure_id,
        {{ role }}_flag as named_thing
    from measures
    where {{ role }}_flag is not null
    {{ "union all" if not loop.last }}
    {%- endfor %}
),

final as (
    select
        named.measure_id,
        named.named_thing
    from named
    left join flags on named.named_thing = flags.flag_name
    where flags.flag_name is null
    union all
    select
        measures.measure_id,
        measures.period_anchor as named_thing
    from measures
    left join anchors on measures.period_anchor = anchors.anchor_name
    where anchors.anchor_name is null
)

select * from final
