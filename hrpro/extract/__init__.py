"""Video to features: decode, resize, flow, I3D, weights, extractor."""
