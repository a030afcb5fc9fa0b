-- purpose: Integrity: current objects that no source belongs to.
-- grain: one row per current diaObject without a diaSource
-- inputs: dia_object, dia_source
-- columns:
--   rerun: name of the rerun
--   diaObjectId: the object
select
    dia_object.rerun,
    dia_object.diaObjectId
from dia_object
anti join dia_source using (rerun, diaObjectId)
