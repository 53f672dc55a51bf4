"""Receiving, unpacking and predicting untrusted uploads."""
