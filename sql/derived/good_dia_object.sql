-- purpose: Good objects, by the definition that the published counts of DM-25125 follow: current, with at least one good source.
-- grain: one row per good diaObject
-- inputs: dia_object, good_dia_source
-- columns:
--   dia_object.*: as there
select dia_object.*
from dia_object
semi join good_dia_source using (rerun, diaObjectId)
