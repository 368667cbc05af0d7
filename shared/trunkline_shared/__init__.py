"""What both tiers agree on: runs, events, the log, leases, keys, configuration, errors."""
