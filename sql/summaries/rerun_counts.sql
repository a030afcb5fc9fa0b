-- purpose: The four numbers of DM-25125 for each rerun.
-- grain: one row per rerun
-- inputs: judged_dia_source, dia_object, good_definition
-- columns:
--   rerun: name of the rerun
--   n_dia_sources: sources
--   n_good_dia_sources: good sources
--   n_dia_objects: current objects
--   n_good_dia_objects: current objects with at least one good source
with sources as (
    select
        diaObjectId,
        is_good
    from judged_dia_source
),

-- Named by themselves, the objects are read beside the sources, not after them.
objects as (
    select diaObjectId
    from dia_object
),

source_counts as (
    select
        count(*) as n_sources,
        count(*) filter (where is_good) as n_good
    from sources
),

object_counts as (
    select
        count(*) as n_objects,
        count(*) filter (where diaObjectId in (select diaObjectId from sources where is_good and diaObjectId is not null)) as n_good
    from objects
)

select
    rerun.rerun,
    source_counts.n_sources as n_dia_sources,
    source_counts.n_good as n_good_dia_sources,
    object_counts.n_objects as n_dia_objects,
    object_counts.n_good as n_good_dia_objects
from (select any_value(good_definition.rerun) as rerun from good_definition) as rerun
cross join source_counts
cross join object_counts
