-- purpose: The four numbers of DM-25125 for each rerun.
-- grain: one row per rerun
-- inputs: dia_source, dia_object, rerun
-- columns:
--   rerun: name of the rerun
--   n_dia_sources: sources
--   n_good_dia_sources: good sources
--   n_dia_objects: current objects
--   n_good_dia_objects: current objects with at least one good source
with per_object as (
    select
        diaObjectId,
        count(*) as n_sources,
        count(*) filter (where is_good) as n_good
    from dia_source
    group by diaObjectId
),

objects as (
    select
        count(*) as n_objects,
        count(*) filter (where diaObjectId in (select diaObjectId from per_object where n_good > 0 and diaObjectId is not null)) as n_good
    from dia_object
),

sources as (
    select
        coalesce(sum(n_sources), 0) as n_sources,
        coalesce(sum(n_good), 0) as n_good
    from per_object
)

select
    rerun.rerun,
    cast(sources.n_sources as bigint) as n_dia_sources,
    cast(sources.n_good as bigint) as n_good_dia_sources,
    objects.n_objects as n_dia_objects,
    objects.n_good as n_good_dia_objects
from rerun
cross join sources
cross join objects
