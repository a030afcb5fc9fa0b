-- purpose: Integrity: sources whose object does not exist, not even as an older version.
-- grain: one row per diaSource whose diaObjectId is in no row of DiaObject
-- inputs: dia_source, dia_object_history
-- columns:
--   rerun: name of the rerun
--   diaSourceId: the source
--   diaObjectId: the object that is missing
select
    dia_source.rerun,
    dia_source.diaSourceId,
    dia_source.diaObjectId
from dia_source
anti join dia_object_history using (rerun, diaObjectId)
where dia_source.diaObjectId is not null
