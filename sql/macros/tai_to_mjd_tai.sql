-- purpose: MJD (TAI, days) of an APDB TIMESTAMP, which holds TAI (lsst/dax_apdb); 40587 is the MJD of 1970-01-01. A number in such a column is taken for Unix seconds by DuckDB, so that an MJD would become a time in 1970: that is an error.
create or replace macro tai_to_mjd_tai(stamp) as
case
    when cast(stamp as timestamp) < timestamp '1971-01-01'
        then cast(error('hitsduck value: a TIMESTAMP cell reads as ' || cast(stamp as varchar) || ', which no survey wrote') as double)
    else epoch_us(cast(stamp as timestamp)) / 86400e6 + 40587
end;
