"""The page of the shop."""

from jinja2 import Template

PAGE = Template("<title>shop</title><h1>{{ name }}</h1>")
