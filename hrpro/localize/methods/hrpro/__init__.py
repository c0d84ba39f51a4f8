"""HR-Pro (AAAI 2024): snippets, then instances, from one point label per action."""
