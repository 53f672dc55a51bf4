"""One function per command, used by the CLI, the web app and the server.

Each module holds one: ``from hematovision.workflows.classify import classify``.
"""
