"""One whole job each: every door calls these, and no door does the work itself.

Each module holds one job under its own name: ``from hematovision.jobs.classify import classify``.
"""
