"""Web pages of results: one file each, which needs nothing else but the videos it links to."""
