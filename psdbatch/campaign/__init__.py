"""Plan, block task, commit, coordinator, audit."""
