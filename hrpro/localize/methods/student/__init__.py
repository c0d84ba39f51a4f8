"""A boundary detector that learns from segments, whoever made them."""
