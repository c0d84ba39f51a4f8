"""Detections as pictures."""
