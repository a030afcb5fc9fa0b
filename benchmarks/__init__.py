"""Times hitsduck beside its peers in the same run; tests assert, benchmarks time."""
