"""Many machines: an extraction as shards on a cluster and one merge, a sweep as several jobs with one storage."""
