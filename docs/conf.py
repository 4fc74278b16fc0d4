"""How Sphinx makes pages of docs/; `make docs` puts them into build/docs."""

project = "bgpctl"
extensions = ["myst_parser", "sphinx_copybutton"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "bgpctl"
html_static_path = ["_static"]
html_css_files = ["bgpctl.css"]
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
# Headings can be linked to, as they are on code forges.
myst_heading_anchors = 3
# The commands of a block are copied, without their prompt and without what they print.
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"
