"""`prodlock verify`: where every byte of a Python image comes from, judged against the lock."""
