"""Models: the network, its folder on disk, its predictions and their thresholds.

Import from the modules. This package imports none of them, so that light modules do not wait for
ONNX Runtime.
"""
