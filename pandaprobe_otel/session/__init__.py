"""Sessions and users: who a span belongs to, and how that reaches every span."""
