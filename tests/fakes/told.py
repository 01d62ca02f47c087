"""Tells what its process is, for the tests of warm processes."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

if sys.argv[1] == "wait":
    print("waiting", flush=True)
    time.sleep(60)
elif sys.argv[1] == "nested":
    own = {"session": {"start_new_session": True}, "group": {"process_group": 0}, "none": {}}[sys.argv[2]]
    sys.exit(subprocess.run([sys.executable, __file__, "0"], check=False, **own).returncode)
else:
    told = {
        "arguments": sys.argv,
        "folder": str(Path.cwd()),
        "told": os.environ.get("TOLD"),
        "typed": sys.stdin.readline(),
        "pid": os.getpid(),
        "name": __name__,
        "torch": "torch" in sys.modules,
        "drawn": random.random(),
        "path": sys.path,
    }
    print(json.dumps(told))
    print("to stderr", file=sys.stderr)
    sys.exit(int(sys.argv[1]))
