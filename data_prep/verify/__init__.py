"""Check what lies on disk: indexed datasets, slices, receipts."""
