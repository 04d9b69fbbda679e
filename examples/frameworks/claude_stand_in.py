#!/usr/bin/env python3
"""In place of Claude Code's program: calls a tool when asked for files, in lines as the real one writes."""

import json
import sys

SESSION = "conversation-123"


def tell(**message: object) -> None:
    print(json.dumps({"session_id": SESSION, **message}), flush=True)


def say(id: str, content: dict[str, object]) -> None:
    usage = {"input_tokens": 20, "output_tokens": 9}
    message = {
        "id": id,
        "role": "assistant",
        "model": "claude-sonnet-5",
        "content": [content],
        "usage": usage,
    }
    tell(type="assistant", message=message, parent_tool_use_id=None)


def answer(question: str) -> str:
    if "files" not in question:
        return "You are welcome."
    say("msg_1", {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}})
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "README.md", "is_error": False}
    tell(type="user", message={"role": "user", "content": [result]}, parent_tool_use_id=None)
    return "There is a README.md."


for line in sys.stdin:
    asked = json.loads(line)
    if asked["type"] == "control_request":
        done = {"subtype": "success", "request_id": asked["request_id"], "response": {"commands": []}}
        tell(type="control_response", response=done)
    elif asked["type"] == "user":
        tell(type="system", subtype="init", claude_code_version="2.1.330")
        said = answer(asked["message"]["content"])
        say("msg_2", {"type": "text", "text": said})
        facts = {"duration_ms": 5, "duration_api_ms": 4, "num_turns": 1, "total_cost_usd": 0.01}
        tell(type="result", subtype="success", is_error=False, result=said, **facts)
