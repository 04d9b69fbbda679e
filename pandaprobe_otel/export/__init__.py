"""The way out: from ended spans to PandaProbe."""
