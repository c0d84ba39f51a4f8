"""Optical flow: one interface, and the algorithms behind it."""
