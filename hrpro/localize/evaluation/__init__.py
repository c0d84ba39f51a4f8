"""How good detections are: mean average precision, and the mistakes behind it."""
