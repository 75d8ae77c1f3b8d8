"""Host-side orchestration: the standard library only, so that the host needs only Python, Invoke and Docker."""
