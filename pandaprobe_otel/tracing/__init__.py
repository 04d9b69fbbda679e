"""The manual API: traces and spans by hand."""
