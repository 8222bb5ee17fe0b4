"""A Flask application with the platform around it.

Run it from this folder: `rakiza serve flask_app:app`, or any other WSGI server.
"""

from flask import Flask

from rakiza import integrate
from rakiza.errors import NotFoundError

app = Flask(__name__)
PROJECTS = {"VILLA-01": "فيلا النرجس"}


@app.get("/projects/<code>")
def project(code: str) -> dict[str, str]:
    """Answer one project; an unknown code becomes a 404 in problem+json."""
    if code not in PROJECTS:
        raise NotFoundError(f"there is no project {code}", message_ar=f"لا يوجد مشروع {code}")
    return {"code": code, "name": PROJECTS[code]}


platform = integrate(app)
platform.setup_error_handlers()
