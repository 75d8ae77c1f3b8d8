"""Move a project in (`prodlock init`), and take a newer version of Prodlock (`prodlock upgrade`)."""
