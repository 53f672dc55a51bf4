"""Untrusted uploads: receiving, unpacking and predicting them."""
