"""What was gained and what was forgotten: perplexity per domain, and the report."""
