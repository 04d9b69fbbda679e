"""Starting: settings, provider and exporter become a running client."""
