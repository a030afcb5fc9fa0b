-- purpose: MJD (TAI, days) of an APDB TIMESTAMP, which holds TAI (lsst/dax_apdb); 40587 is the MJD of 1970-01-01.
create or replace macro tai_to_mjd_tai(stamp) as
epoch_us(cast(stamp as timestamp)) / 86400e6 + 40587;
