"""Cleaning steps: each named in the corpus file, each counted, each with samples of what it did."""
