"""Models: the network, its folder on disk, its predictions and their thresholds.

This package imports none of its modules: the light ones must not load ONNX Runtime.
"""
