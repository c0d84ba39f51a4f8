"""Packaged presets (YAML) and the loader that merges, overrides and validates them."""
