"""How Sphinx makes pages of docs/; `make docs` puts them into build/docs."""

project = "bgpctl"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "Calico's overlay networking without Kubernetes", "fixed_sidebar": True}
html_show_copyright = False
# Headings can be linked to, as they are on code forges.
myst_heading_anchors = 3
