"""Video to detections: extract and localize joined; results, formats, rendering."""
