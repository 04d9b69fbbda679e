"""A service that an agent calls. It names no session: it works in the one of whoever calls."""

import os

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

import pandaprobe_otel as pandaprobe


async def invoice(request):
    order = request.path_params["order"]
    with pandaprobe.start_trace("billing") as turn, turn.span("find invoice", kind="TOOL") as tool:
        tool.set_input({"order": order})
        found = {"order": order, "amount": 42}
        tool.set_output(found)
    print("billing works for", pandaprobe.current_session(), flush=True)
    return JSONResponse(found)


app = Starlette(routes=[Route("/invoices/{order}", invoice)])

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), log_level="warning")
