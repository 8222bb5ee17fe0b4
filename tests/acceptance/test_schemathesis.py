"""Requests made up from the API's own description: no fault, nothing outside the description, nothing open without a session."""

import json
import re
import subprocess
import sys
from pathlib import Path

import bills
from served import Served

WITHOUT = "positive_data_acceptance,allow_header_conformance"  # rules no schema says; Litestar's OPTIONS names one handler's methods
COMMAND = "import sys; from schemathesis.cli import schemathesis; schemathesis()"


def test_requests_made_up_from_the_description(tmp_path: Path) -> None:
    with Served(tmp_path / "home", "", RAKIZA_WEB_RATE_LIMIT_PER_MINUTE="1000000").sign_in() as office:
        assert office.send("POST", "/api/projects", {"code": "VILLA-01", "name": "فيلا"}).status == 201
        assert office.upload("VILLA-01", bills.layout_b(bills.lines(30))).status == 200
        config = tmp_path / "schemathesis.toml"
        config.write_text(f'[auth.openapi.session]\napi_key = "{office.cookie.partition("=")[2]}"\n')
        where = ["--config-file", str(config), "run", f"http://127.0.0.1:{office.port}/api/openapi.json", "-H", "Sec-Fetch-Site: same-origin"]
        asked = ["--phases", "coverage,fuzzing", "-n", "10", "--seed", "7", "--continue-on-failure", "--exclude-checks", WITHOUT]
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *where, *asked],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        operations = sum(len(methods) for methods in office.get("/api/openapi.json")["paths"].values())
    shown = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    assert done.returncode == 0, shown[-6000:] + done.stderr[-2000:]
    assert f"Tested: {operations}\n" in shown
    faults = tmp_path / "home" / "logs" / "noufal_errors.log"
    assert not faults.exists() or not faults.read_text(), faults.read_text()[-3000:]
    lines = (tmp_path / "home" / "logs" / "noufal_requests.log").read_bytes().splitlines()
    statuses = {json.loads(line)["status_code"] for line in lines}
    assert {200, 401, 404, 405, 422} <= statuses
