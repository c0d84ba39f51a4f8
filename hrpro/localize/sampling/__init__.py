"""What one update sees: batches of videos, packed."""
