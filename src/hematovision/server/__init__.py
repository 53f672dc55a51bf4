"""The service over HTTP: ``hematovision serve``."""
