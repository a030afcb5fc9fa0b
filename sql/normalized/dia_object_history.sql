-- purpose: All versions of the DIA objects of one rerun under the names of schema 10.0.0.
-- grain: one row per diaObject and validityStartMjdTai
-- inputs: staged_dia_object
-- columns:
--   DiaObject.*: every column of schema 10.0.0 and the older ones without a successor; NULL where the file lacks it
--   rerun: name of the rerun
select staged_dia_object.*
from staged_dia_object
