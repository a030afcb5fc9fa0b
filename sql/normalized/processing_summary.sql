-- purpose: Processed detector images as DetectorVisitProcessingSummary records them; empty where a file lacks the table.
-- grain: one row per visit and detector
-- inputs: staged_processing_summary
-- columns:
--   DetectorVisitProcessingSummary.*: every column of schema 10.0.0
--   rerun: name of the rerun
select staged_processing_summary.*
from staged_processing_summary
