"""Proposals: made, scored, thinned out."""
