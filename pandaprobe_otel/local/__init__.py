"""The embedded PandaProbe: takes OTLP, and answers as PandaProbe's API does."""
