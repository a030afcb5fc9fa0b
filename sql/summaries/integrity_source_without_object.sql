-- purpose: Integrity: sources whose object does not exist, not even as an older version.
-- grain: one row per diaSource whose diaObjectId is in no row of DiaObject
-- inputs: dia_source, dia_object_history
-- columns:
--   rerun: name of the rerun
--   diaSourceId: the source
--   diaObjectId: the object that is missing
select
    rerun,
    diaSourceId,
    diaObjectId
from dia_source
where
    diaObjectId is not null
    and diaObjectId not in (select diaObjectId from dia_object_history where diaObjectId is not null)
