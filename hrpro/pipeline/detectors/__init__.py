"""From features to detections."""
