"""One function per command, used by the CLI, the web app and the server.

Each has its own module: ``from hematovision.workflows.classify import classify``.
"""
