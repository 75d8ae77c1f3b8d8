"""Run any ASGI application in production: signals, drain, limits, request log, probes."""
