-- purpose: Current versions of the DIA objects: those whose validity has no end.
-- grain: one row per diaObject
-- inputs: dia_object_history
-- columns:
--   dia_object_history.*: as there
select dia_object_history.*
from dia_object_history
where dia_object_history.validityEndMjdTai is null
