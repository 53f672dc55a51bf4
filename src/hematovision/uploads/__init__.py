"""Untrusted uploads: receiving, unpacking and classifying them."""
