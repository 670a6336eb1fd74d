"""Where the science folders meet: stages as functions, plans as data, one engine."""
