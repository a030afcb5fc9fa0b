-- purpose: SQLite's twin of the view dia_forced_source, for the rows of one id; a test holds the two equal.
-- grain: one row per diaObject, visit and detector
-- inputs: staged_dia_forced_source
-- values: :visit_id_factor
-- columns:
--   dia_forced_source.*: as there, a computed column after the staged one that it replaces
select
    staged_dia_forced_source.*,
    coalesce(visit, ccdVisitId / :visit_id_factor) as visit,
    coalesce(detector, ccdVisitId % :visit_id_factor) as detector,
    nullif(diaObjectId, 0) as diaObjectId
from staged_dia_forced_source
