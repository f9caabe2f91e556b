"""Which documents stay: duplicates, near-duplicates and contaminated ones are found across all sources."""
