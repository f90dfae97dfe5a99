"""Runs in a browser: `metta-sweep ui`, read-only pages that follow a run live, and `report.html`, one file to pass on.

Nothing here executes what a run's folder holds, and nothing on a page is loaded from elsewhere.
"""
