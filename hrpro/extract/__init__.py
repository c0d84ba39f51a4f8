"""Video to features: decode, resize, flow, I3D, weights, extractor.

Called as a function, ``hrpro.extract(...)``, it is `hrpro.api.extract`.
"""
