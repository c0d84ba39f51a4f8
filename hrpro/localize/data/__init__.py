"""A dataset folder, read and checked: layout, point labels, features, settings."""
