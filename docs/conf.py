"""The documentation as a site: `make docs`. Pages are Markdown, the reference comes from the docstrings.

Nothing is fetched: the theme brings its own files, and mathematics, which the docstrings write in Unicode
between backticks, is set by `_site/formulas.py` as italics, sub- and superscripts.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_site")]

project = "The laboratory for offline preference optimisation"
author = "The SPAC Laboratory authors"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_parser", "formulas", "reference"]
html_theme = "furo"
html_title = "SPAC laboratory"
html_static_path = ["_site/static"]
html_css_files = ["formulas.css"]
html_copy_source = False
html_show_sphinx = False
exclude_patterns = ["_site"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_heading_anchors = 4
nitpicky = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_mock_imports = ["vllm"]
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
suppress_warnings = ["ref.python"]  # two classes may have an attribute of one name
