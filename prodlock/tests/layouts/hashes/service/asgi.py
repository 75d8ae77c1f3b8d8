from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from .pages import index, sign


async def health(request):
    return PlainTextResponse("OK")


application = Starlette(
    routes=[
        Route("/", index),
        Route("/sign", sign, methods=["POST"]),
        Route("/health", health),
        Mount("/static", StaticFiles(directory="static"), name="static"),
    ]
)
