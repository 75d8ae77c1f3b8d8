from starlette.config import Config
from starlette.responses import RedirectResponse
from starlette.templating import Jinja2Templates

config = Config()
TITLE = config("GUESTBOOK_TITLE", default="Guests")
templates = Jinja2Templates(directory="templates")
names: list[str] = []


async def index(request):
    return templates.TemplateResponse(request, "index.html", {"title": TITLE, "names": names})


async def sign(request):
    form = await request.form()
    names.append(str(form["name"]))
    return RedirectResponse("/", status_code=303)
