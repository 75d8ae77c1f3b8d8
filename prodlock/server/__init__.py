"""Run any ASGI application in production: signals, drain, limits, request log, probes.

`python -m prodlock.server app.main:create_app` runs one; `python -m prodlock.server --help` lists the options. It needs
uvicorn and httptools, in the versions that `requirements` states; WebSocket connections need the package `websockets`
as well.

| module | subject |
|---|---|
| `__main__`, `command` | signals from the first line; the command line and the exit codes |
| `requirements` | the distributions that the server needs, with their versions |
| `settings` | the environment variables, validated |
| `application` | `module:attribute`: an ASGI application or a factory |
| `server` | uvicorn's server with the drain and the grace period; `lifecycle` is its state |
| `protocol`, `cork` | limits on heads and slow clients; a response's head and body in one write |
| `request_log`, `probes`, `head`, `body_limit` | ASGI layers around the application, the outermost first |
| `logs`, `batches` | the log, as text or JSON; the request log in batches |
| `healthcheck` | the image's HEALTHCHECK |
| `uvicorn_internals` | the one list of what is used of uvicorn beside its documented API |
"""
