"""A trained model: its network, its folder on disk, its answers and how far to trust them.

Import from the modules themselves. This package imports none of them, so that whoever needs the
table of blocks does not wait for ONNX Runtime.
"""
