"""Runs a program under `opentelemetry-instrument` against a PandaProbe and an OpenAI of this machine.

python run.py zero_code/app.py                       # and shows the session that arrived
python run.py --plain frameworks/with_langgraph.py   # the same for a program that traces itself
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

from pandaprobe_otel.local import tree
from pandaprobe_otel.local.fake_openai import FakeOpenAI
from pandaprobe_otel.local.server import LocalServer

with (
    tempfile.TemporaryDirectory() as folder,
    LocalServer(Path(folder), port=0) as local,
    FakeOpenAI() as fake,
):
    environment = {
        "PANDAPROBE_ENDPOINT": local.url,
        "PANDAPROBE_SPOOL_DIR": "off",
        "OPENAI_BASE_URL": fake.base_url,
        "OPENAI_API_KEY": "none",
        # The session of a program that sets none itself.
        "BAGGAGE": "session.id=from-outside",
    }
    program = [sys.executable, *sys.argv[1:]]
    if "--plain" in program:
        program.remove("--plain")
    else:
        program.insert(0, str(Path(sys.executable).with_name("opentelemetry-instrument")))
    subprocess.run(program, env={**os.environ, **environment}, check=True)
    with urlopen(f"{local.url}/sessions") as answer:
        sessions = json.load(answer)["items"]
    for session in sessions:
        with urlopen(f"{local.url}/sessions/{quote(session['session_id'], safe='')}") as answer:
            print(tree.render(json.load(answer), drawing=tree.UNICODE, width=100))
