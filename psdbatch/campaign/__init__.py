"""The campaign directory and what lies in it: plan, commits, journal, summary; and the audit that proves it."""
