#!/usr/bin/env python3
"""Stands for Claude Code's program: answers prompts as they begin, in the lines that the real one writes.

Its session is made up at the start unless the caller names one, and all of its prompts are of that.
"""

import json
import sys
import uuid

NAMED = [arg.removeprefix("--session-id=") for arg in sys.argv if arg.startswith("--session-id=")]
SESSION = NAMED[0] if NAMED else str(uuid.uuid4())
MODEL = "claude-sonnet-5"


def tell(**message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def say(
    *content: object, id: str, read: int, written: int, parent: str | None = None, cached: int = 0
) -> None:
    usage = {"input_tokens": read, "output_tokens": written, "cache_read_input_tokens": cached}
    told = {"id": id, "role": "assistant", "model": MODEL, "content": content, "usage": usage}
    tell(type="assistant", message=told, parent_tool_use_id=parent, session_id=SESSION)


def say_itself(said: str, **more: str) -> None:
    """What no model has said."""
    told = {"id": "own", "role": "assistant", "model": "<synthetic>", "content": [text(said)], "usage": {}}
    tell(type="assistant", message=told, parent_tool_use_id=None, session_id=SESSION, **more)


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


def call(id: str, name: str, **arguments: str) -> dict[str, object]:
    return {"type": "tool_use", "id": id, "name": name, "input": arguments}


def give(id: str, result: str, *, is_error: bool = False, parent: str | None = None) -> None:
    block = {"type": "tool_result", "tool_use_id": id, "content": result, "is_error": is_error}
    told = {"role": "user", "content": [block]}
    tell(type="user", message=told, parent_tool_use_id=parent, session_id=SESSION)


def end(result: str, *, subtype: str = "success", is_error: bool = False, **more: str) -> None:
    facts = {"duration_ms": 5, "duration_api_ms": 4, "num_turns": 1, "total_cost_usd": 0.01, **more}
    tell(type="result", subtype=subtype, is_error=is_error, session_id=SESSION, result=result, **facts)


def answer(prompt: str) -> None:
    tell(type="system", subtype="init", session_id=SESSION, model=MODEL, tools=["Bash"])
    if prompt.startswith("list"):
        say(
            {"type": "thinking", "thinking": "A shell.", "signature": "s"},
            id="m1",
            read=10,
            written=3,
            cached=90,
        )
        say(call("t1", "Bash", command="ls"), id="m1", read=10, written=3, cached=90)
        give("t1", "README.md")
        say(text("There is a README.md."), id="m2", read=20, written=7, cached=100)
        end("There is a README.md.")
    elif prompt.startswith("delegate"):
        say(call("t2", "Task", prompt="count"), id="m3", read=10, written=3)
        say(call("t3", "Bash", command="wc"), id="m4", read=5, written=2, parent="t2")
        give("t3", "no such file", is_error=True, parent="t2")
        say(text("None."), id="m5", read=6, written=1, parent="t2")
        give("t2", "None.")
        say(text("There are none."), id="m6", read=12, written=4)
        end("There are none.")
    elif prompt.startswith("fail"):
        end("", subtype="error_during_execution", is_error=True)
    elif prompt.startswith("refuse"):
        say(call("t4", "Bash", command="ls"), id="m8", read=10, written=3)
        give("t4", "README.md")
        say_itself("API Error: 429", error="rate_limit")
        end("API Error: 429", is_error=True, terminal_reason="api_error")
    elif prompt.startswith("/"):
        say_itself("Done.")
        end("Done.")
    else:
        say(text("Hi."), id="m7", read=3, written=1)
        end("Hi.")


if "-v" in sys.argv:
    sys.stdout.write("2.1.330 (Claude Code)\n")
    sys.exit()
for line in sys.stdin:
    asked = json.loads(line)
    if asked["type"] == "control_request":
        answered = {"subtype": "success", "request_id": asked["request_id"], "response": {"commands": []}}
        tell(type="control_response", response=answered)
    elif asked["type"] == "user":
        answer(asked["message"]["content"])
