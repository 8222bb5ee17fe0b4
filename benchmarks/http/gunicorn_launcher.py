"""Start gunicorn, installed beside the peers only, with the project's own interpreter and packages first."""

import sys

sys.path.append(sys.argv.pop(1))

from gunicorn.app.wsgiapp import run

run()
