-- purpose: Good sources: none of the flags in good_definition is set, and none is NULL.
-- grain: one row per good diaSource
-- inputs: dia_source
-- columns:
--   dia_source.*: as there
select dia_source.*
from dia_source
where dia_source.is_good
