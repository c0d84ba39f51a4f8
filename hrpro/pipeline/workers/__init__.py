"""Many videos, many processes, many machines."""
