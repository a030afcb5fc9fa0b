-- purpose: Integrity: flags that the file holds and that no source has set.
-- grain: one row per flag set in no row
-- inputs: flag_summary
-- columns:
--   rerun: name of the rerun
--   flag: name of the flag
--   is_bad: the flag belongs to the good definition
select
    rerun,
    flag,
    is_bad
from flag_summary
where is_in_file and n_set = 0 and n_dia_sources > 0
