"""Features to proposals: data, the two stages, losses, proposals, NMS, training, evaluation."""
