"""Features that others made: arrays and tables on users' disks become a cache."""
