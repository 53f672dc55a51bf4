"""Datasets: reading, importing, converting, splitting and checking."""
