"""Situations as one self-contained HTML page. It asks nobody for anything, so that every room may have one made."""
