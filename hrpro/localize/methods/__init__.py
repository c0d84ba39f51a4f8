"""Ways to learn to localize, each a package of its own."""
