"""The page at the end of a campaign: what came out, how it went, and where it came from."""
