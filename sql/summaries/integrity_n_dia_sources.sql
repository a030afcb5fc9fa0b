-- purpose: Integrity: current objects whose recorded number of sources is not the number there are.
-- grain: one row per current version of a diaObject whose nDiaSources is wrong; none where nDiaSources is NULL
-- inputs: dia_object, dia_source
-- columns:
--   rerun: name of the rerun
--   diaObjectId: the object
--   nDiaSources: sources as recorded
--   n_dia_sources: sources counted
select
    dia_object.rerun,
    dia_object.diaObjectId,
    dia_object.nDiaSources,
    coalesce(counted.n_dia_sources, 0) as n_dia_sources
from dia_object
left join (
    select
        rerun,
        diaObjectId,
        count(*) as n_dia_sources
    from dia_source
    where diaObjectId is not null
    group by rerun, diaObjectId
) as counted
    on dia_object.rerun = counted.rerun and dia_object.diaObjectId = counted.diaObjectId
where dia_object.nDiaSources <> coalesce(counted.n_dia_sources, 0)
