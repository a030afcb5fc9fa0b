-- purpose: Forced photometry of one rerun under the names of schema 10.0.0.
-- grain: one row per diaObject, visit and detector
-- inputs: staged_dia_forced_source, rerun
-- columns:
--   DiaForcedSource.*: every column of schema 10.0.0 and the older ones without a successor; NULL where the file lacks it; diaObjectId 0 is NULL; visit and detector out of ccdVisitId where needed
--   rerun: name of the rerun
select
    * exclude (visit_id_factor, id_problem) replace (
        case
            when ccdVisitId is not null and id_problem is not null
                then cast(error('hitsduck instrument: ' || id_problem) as bigint)
            else coalesce(visit, ccdVisitId // visit_id_factor)
        end as visit,
        case
            when ccdVisitId is not null and id_problem is not null
                then cast(error('hitsduck instrument: ' || id_problem) as integer)
            else coalesce(detector, cast(ccdVisitId % visit_id_factor as integer))
        end as detector,
        nullif(diaObjectId, 0) as diaObjectId
    )
from (
    select
        staged_dia_forced_source.*,
        rerun.visit_id_factor,
        rerun.id_problem
    from staged_dia_forced_source
    cross join rerun
) as source
