"""An agent that asks another service. The session and the turn go along with the request."""

import json
import os
from urllib.request import urlopen

import pandaprobe_otel as pandaprobe

BILLING = os.environ.get("BILLING", "http://127.0.0.1:8000")
question = {"role": "user", "content": "What do I owe for order 7?"}

with (
    pandaprobe.session("conversation-123") as session,
    pandaprobe.start_trace("agent", input={"messages": [question]}) as turn,
):
    with urlopen(f"{BILLING}/invoices/7") as answer:
        amount = json.load(answer)["amount"]
    reply = {"role": "assistant", "content": f"You owe {amount} euros."}
    turn.set_output({"messages": [reply]})
print("agent works for", session)
