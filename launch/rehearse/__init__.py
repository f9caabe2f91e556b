"""A cluster's ranks on one CPU, before they are booked: do they divide, do they fit, does each read its own samples."""
