"""The weights of all networks: where they are published, fetched, checked, kept, built."""
