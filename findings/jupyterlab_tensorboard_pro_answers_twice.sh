#!/usr/bin/env bash
# jupyterlab-tensorboard-pro answers each request twice: what TensorBoard says, then an empty 200 that nobody asked for.
#
# Versions:  jupyterlab-tensorboard-pro 4.0.0, tornado 6.2 (the newest it admits), jupyter_server 2.21.1, TensorBoard 2.21.0
#            (Linux x86-64, Python 3.11). Seen on 2026-11-29.
# Expected:  one answer to one request, as HTTP/1.1 has it; TensorBoard by itself and jupyter-server-proxy 4.6.0 in the same
#            server give one.
# Behaviour: on a connection that is kept open, the answer is followed by another with status 200 and no content.
# Cause:     its handler lets WSGIContainer write and finish the answer; tornado then finishes the handler a second time.
# Matters:   a browser that keeps connections takes the second one for the answer to its next request: now and then a script, a
#            page or a plugin's tab is empty, without an error anywhere, and loading the page again helps. A test with one
#            connection a request, as urllib's, sees nothing of it.
#
# Output:
#   jupyterlab-tensorboard-pro: 200 with content, 200 without content
#   TensorBoard by itself:      200 with content
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile jupyterlab-tensorboard-pro==4.0.0 jupyter_server==2.21.1 jupyterlab==4.6.6 \
  tensorboard==2.21.0 tornado==6.2
mkdir "$folder/logs"
cat > "$folder/probe.py" <<'PY'
import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

folder = Path(sys.argv[1])


def started(said, *command):
    """A server, and the address that it says once it listens."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder, env={"HOME": str(folder), "PATH": ""})
    for line in process.stderr:
        if found := re.search(said, line):
            break
    address = found[1]
    while True:
        try:
            urlopen(address).read()
            return process, address
        except OSError:
            time.sleep(0.1)


def answers(address):
    """Everything that comes on one connection after one request, until nothing has come for three seconds."""
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        connection.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        content = connection.recv(2**16)
        connection.settimeout(3)
        try:
            while more := connection.recv(2**16):
                content += more
        except TimeoutError:
            pass
    found = []
    while content:
        head, _, content = content.partition(b"\r\n\r\n")
        size = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
        found.append(f"{head.split()[1].decode()} {'with' if size else 'without'} content")
        content = content[size:]
    return ", ".join(found)


flags = ["--no-browser", "--allow-root", "--ip=127.0.0.1", "--ServerApp.token=", "--ServerApp.disable_check_xsrf=True"]
jupyter, server = started(r"(http://127\.0\.0\.1:\d+)/", sys.executable, "-m", "jupyter_server", *flags)
board, alone = started(
    r"(http://127\.0\.0\.1:\d+)/", sys.executable, "-m", "tensorboard.main", "--logdir=logs", "--host=127.0.0.1", "--port=0"
)
try:
    wanted = json.dumps({"logdir": str(folder / "logs"), "reload_interval": 5}).encode()
    name = json.load(urlopen(Request(f"{server}/api/tensorboard_pro", wanted, method="POST"), timeout=60))["name"]
    print("jupyterlab-tensorboard-pro:", answers(f"{server}/tensorboard_pro/{name}/data/environment"))
    print("TensorBoard by itself:     ", answers(f"{alone}/data/environment"))
finally:
    jupyter.terminate()
    board.terminate()
PY
"$folder/venv/bin/python" "$folder/probe.py" "$folder" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
jupyterlab-tensorboard-pro: 200 with content, 200 without content
TensorBoard by itself:      200 with content
SEEN
