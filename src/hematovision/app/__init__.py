"""The web app: ``hematovision app``."""
