"""Sphinx: `sphinx-build -W docs docs/_build/html`, with the `docs` extra installed."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "pyswarm"
author = "the pyswarm contributors"
release = version = installed_version("pyswarm-orchestrator")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
suppress_warnings = [
    "myst.xref_missing"
]  # links to files of the repository, for readers on its host

autodoc_member_order = "bysource"
autodoc_typehints = "description"

html_theme = "furo"
html_title = "pyswarm"
