"""A server that answers `/progress` for the drivers of all fake pods.

It reports a training without new steps, or, once a file exists, one that makes steps.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from aiohttp import web

PORT = 8701
TOTAL_STEPS = 100_000


def progress(step: int, job_uid: str) -> dict[str, object]:
    """Return what a driver answers."""
    return {
        "schemaVersion": 1,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "jobUid": job_uid,
        "attempt": 1,
        "activity": "Training",
        "workers": {"ready": 3, "desired": 3},
        "progress": {
            "epoch": step // 1000,
            "step": step,
            "totalSteps": TOTAL_STEPS,
            "percent": 100 * step // TOTAL_STEPS,
        },
        "metrics": [{"name": "train/loss", "value": f"{1 / step:.6g}"}],
    }


async def main() -> None:
    """Serve until killed."""
    goes_on, began = Path(sys.argv[1]), time.monotonic()

    async def answer(request: web.Request) -> web.Response:
        step = 1 + int(time.monotonic() - began) * 5 if goes_on.exists() else 1
        told = progress(step, request.headers["Seedbed-Job-Uid"])
        return web.Response(text=json.dumps(told), content_type="application/json")

    app = web.Application()
    app.add_routes([web.get("/progress", answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", PORT, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
