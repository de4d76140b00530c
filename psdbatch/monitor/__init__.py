"""What people see of a campaign: progress, summary, plots."""
