"""Agent frameworks, one module each; there is none yet."""
