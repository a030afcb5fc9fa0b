-- purpose: Integrity: sources whose position is NULL, not finite, or out of range.
-- grain: one row per diaSource without a usable position
-- inputs: dia_source
-- columns:
--   rerun: name of the rerun
--   diaSourceId: the source
--   ra: right ascension [deg]
--   dec: declination [deg]
select
    rerun,
    diaSourceId,
    ra,
    dec
from dia_source
where
    not coalesce(
        isfinite(ra) and isfinite(dec) and ra >= 0 and ra <= 360 and dec between -90 and 90,
        false
    )
