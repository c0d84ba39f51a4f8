"""The drawn videos, and the tour through everything."""
