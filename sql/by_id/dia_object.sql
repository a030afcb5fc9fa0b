-- purpose: SQLite's twin of the view dia_object_history, for the rows of one id; a test holds it and dia_object equal.
-- grain: one row per diaObject and validityStartMjdTai
-- inputs: staged_dia_object
-- values: none
-- columns:
--   dia_object_history.*: as there
--   is_current: the row is one of dia_object
select
    staged_dia_object.*,
    validityEndMjdTai is null as is_current
from staged_dia_object
