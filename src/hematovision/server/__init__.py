"""The HTTP server: ``hematovision serve``."""
