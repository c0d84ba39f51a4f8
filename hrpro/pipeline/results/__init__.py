"""Detections as data and as files."""
