-- purpose: Sources of every current object, counted.
-- grain: one row per diaObject with a current version
-- inputs: dia_object, dia_source
-- columns:
--   rerun: name of the rerun
--   diaObjectId: id of the object
--   n_dia_sources: sources that belong to it, good or not
--   n_good_dia_sources: good sources that belong to it
select
    present.rerun,
    present.diaObjectId,
    coalesce(counted.n_dia_sources, 0) as n_dia_sources,
    coalesce(counted.n_good_dia_sources, 0) as n_good_dia_sources
from (
    select
        rerun,
        diaObjectId
    from dia_object
    group by rerun, diaObjectId
) as present
left join (
    select
        rerun,
        diaObjectId,
        count(*) as n_dia_sources,
        count(*) filter (where is_good) as n_good_dia_sources
    from dia_source
    where diaObjectId is not null
    group by rerun, diaObjectId
) as counted
    on present.rerun = counted.rerun and present.diaObjectId = counted.diaObjectId
