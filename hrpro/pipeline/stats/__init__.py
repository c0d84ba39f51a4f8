"""Events in numbers: how often, for how long, and how far two observers agree."""
