"""The hands of a test inside its virtual machine: runs commands that arrive over a virtio-serial port.

One JSON object a line, each with an `id` that its answer repeats, many at a time: `{"argv", "timeout", "stdin"}` is
answered by `{"code", "out", "err"}`, or by `{"fault": "missing" | "late"}`; `{"put": PATH, "data"}` and
`{"get": PATH}` carry whole files; `{"kill": ID}` ends a command. Bytes are base64.
"""

import base64
import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

PORT = "/dev/virtio-ports/voxnix"
ENVIRONMENT = {
    "LC_ALL": "C",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "SYSTEMD_COLORS": "0",
    "SYSTEMD_PAGER": "",
}

writing = threading.Lock()
running = {}


def packed(data):
    return base64.b64encode(data).decode()


def execute(task):
    argv = task["argv"]
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            argv, stdin=pipe, stdout=pipe, stderr=pipe, env=ENVIRONMENT, cwd="/", start_new_session=True
        )
    except FileNotFoundError:
        return {"fault": "missing"}
    running[task["id"]] = process
    try:
        out, err = process.communicate(base64.b64decode(task.get("stdin", "")), timeout=task["timeout"])
    except subprocess.TimeoutExpired:
        return {"fault": "late"}
    finally:
        end(process)
        running.pop(task["id"], None)
    return {"code": process.returncode, "out": packed(out), "err": packed(err)}


def end(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def answer(task):
    if "argv" in task:
        return execute(task)
    if "put" in task:
        path = Path(task["put"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(task["data"]))
        return {}
    if "get" in task:
        return {"data": packed(Path(task["get"]).read_bytes())}
    if "kill" in task and (process := running.get(task["kill"])):
        end(process)
    return {}


def serve(port, line):
    task = json.loads(line)
    try:
        said = answer(task)
    except Exception as error:  # noqa: BLE001  # whatever went wrong is the test's to judge
        said = {"fault": repr(error)}
    rest = json.dumps(said | {"id": task["id"]}).encode() + b"\n"
    with writing:
        while rest:  # the port takes 32 KiB at a time
            rest = rest[port.write(rest) :]


def main():
    with open(PORT, "r+b", buffering=0) as port:
        rest = b""
        while True:
            part = port.read(2**16)
            if not part:  # nobody holds the other end, or there was nothing after all
                time.sleep(0.05)
                continue
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                threading.Thread(target=serve, args=(port, line), daemon=True).start()


main()
